"""Measure a bundle on a split: the model, the baseline and the constant on the same readers."""

from pathlib import Path
from typing import Any

from export.bundle_model import BundleModel
from export.data import ReaderData, load_reader_data
from export.evaluation.constant import Constant
from export.evaluation.figures import Estimator, by_num_clicks, figures_of, no_figures
from export.evaluation.groups import by_group, reliability
from export.evaluation.optimum import beside_optimum, is_newsroom
from schemas.errors import TrainingError
from schemas.reading_set import ReadingSet, Split


def evaluate(
    bundle: Path, dataset: Path, split: Split = "test", *, with_baseline: bool = True
) -> dict[str, Any]:
    """Measure a bundle on a reading set; see `evaluate_data`.

    Raises:
        BundleError: when the bundle is not valid.
        ReadingSetError: when the reading set is not.
        TrainingError: when the split has no reader with labels and clicks, the income groups are
            not the bundle's, or the baseline is wanted and scikit-learn is missing.
    """
    model = BundleModel(bundle)
    data = load_reader_data(ReadingSet(dataset), model.manifest.reads_tags)
    return evaluate_data(model, data, split, directory=dataset, with_baseline=with_baseline)


def evaluate_data(
    model: BundleModel,
    data: ReaderData,
    split: Split,
    *,
    directory: Path | None = None,
    with_baseline: bool = True,
) -> dict[str, Any]:
    """Measure on a reading set that is already loaded.

    `model`, `baseline` and `constant` hold the same heads and figures, each figure as {"value",
    "low", "high"}, null where it is not defined: also a head without labels, and a baseline that
    is not wanted or has no training readers. `by_num_clicks` holds the heads of the model after
    1, 2, 5, 10 and 20 clicks, with `baseline`, `constant` and the number of `readers` beside
    them. `reliability` and `groups` are for the model card. Where `directory` is a generated
    newsroom, `optimum` compares the model with the exact posterior.

    Raises:
        ReadingSetError: when the truth of a newsroom does not fit its clicks.
        TrainingError: as for `evaluate`.
    """
    readers = data.readers_of(split)
    if len(readers) == 0:
        raise TrainingError(f"{data.name}: no reader in the {split} split has labels and clicks")
    if data.income_groups != model.manifest.income_groups:
        raise TrainingError(
            f"{data.name}: its income groups {data.income_groups} are not the bundle's "
            f"{model.manifest.income_groups}"
        )
    others: dict[str, Estimator] = {"constant": Constant(data, model.manifest)}
    if with_baseline and len(data.readers_of("train")):
        others = {"baseline": _baseline(data), **others}
    estimators: dict[str, Estimator] = {"model": model, **others}
    estimates = {name: each.estimate(data, readers) for name, each in estimators.items()}
    figures = {name: figures_of(each, data, readers) for name, each in estimates.items()}
    figures.setdefault("baseline", no_figures(figures["model"]))
    result: dict[str, Any] = {
        "dataset": data.name,
        "licence": data.licence,
        "split": split,
        "readers": len(readers),
        "model_version": model.manifest.model_version,
        **{name: figures[name] for name in ("model", "baseline", "constant")},
        "by_num_clicks": by_num_clicks(model, others, data, readers),
        "reliability": {
            name: reliability(estimates[name], data, readers)
            for name in ("model", "baseline")
            if name in estimates
        },
        "groups": by_group(
            {name: estimates[name] for name in estimates if name != "constant"}, data, readers
        ),
    }
    if directory is not None and is_newsroom(directory):
        result["optimum"] = beside_optimum(model, data, readers, directory)
    return result


def _baseline(data: ReaderData) -> Estimator:
    try:
        from export.baseline import Baseline
    except ModuleNotFoundError as error:
        raise TrainingError(
            f"the baseline needs {error.name}: pip install 'frontpage[train]', or leave it out "
            "with --no-baseline"
        ) from error
    return Baseline(data)
