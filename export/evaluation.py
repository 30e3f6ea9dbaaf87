"""How good a bundle is on a split it was not trained on, beside a constant that knows no reader."""

from pathlib import Path
from typing import Any

import numpy as np

from export.bundle_model import BundleModel, Estimates
from export.data import ReaderData, load_reader_data
from export.metrics import all_figures
from schemas.bundle import Manifest
from schemas.errors import TrainingError
from schemas.reading_set import ReadingSet, Split


def evaluate(bundle: Path, dataset: Path, split: Split = "test") -> dict[str, Any]:
    """Return every figure as {"value", "low", "high"} under `model` and `constant`.

    The constant is the prior of the bundle's training readers.

    Raises:
        BundleError: when the bundle is not valid.
        ReadingSetError: when the reading set is not.
        TrainingError: when the split has no reader with labels and clicks, or the income groups
            are not the bundle's.
    """
    model = BundleModel(bundle)
    data = load_reader_data(ReadingSet(dataset), model.manifest.reads_tags)
    return evaluate_data(model, data, split)


def evaluate_data(model: BundleModel, data: ReaderData, split: Split) -> dict[str, Any]:
    """Evaluate on a reading set that is already loaded."""
    readers = data.readers_of(split)
    if len(readers) == 0:
        raise TrainingError(f"{data.name}: no reader in the {split} split has labels and clicks")
    if data.income_groups != model.manifest.income_groups:
        raise TrainingError(
            f"{data.name}: its income groups {data.income_groups} are not the bundle's "
            f"{model.manifest.income_groups}"
        )
    labels = {
        "age": data.age[readers],
        "income": data.income[readers],
        "gender": data.gender[readers],
    }
    result: dict[str, Any] = {
        "dataset": data.name,
        "split": split,
        "readers": len(readers),
        "model_version": model.manifest.model_version,
    }
    for name, estimates in (
        ("model", model.estimate(data, readers)),
        ("constant", constant_estimates(model.manifest, len(readers))),
    ):
        result[name] = all_figures(
            labels,
            years=estimates.age_years.astype(np.float64),
            sd=estimates.age_sd.astype(np.float64),
            income=estimates.income.astype(np.float64),
            female=estimates.female.astype(np.float64),
        )
    return result


def constant_estimates(manifest: Manifest, size: int) -> Estimates:
    """Return the prior of the training readers for everyone."""
    prior = manifest.training["prior"]
    return Estimates(
        age_years=np.full(size, manifest.age_mean_years, dtype=np.float32),
        age_sd=np.full(size, manifest.age_sd_years, dtype=np.float32),
        income=np.tile(np.array(prior["income"], dtype=np.float32), (size, 1)),
        female=np.full(size, prior["female"], dtype=np.float32),
    )


def as_table(result: dict[str, Any]) -> str:
    """Lay an evaluation out for a person to read."""
    lines = [
        f"{result['dataset']}, {result['split']} split, {result['readers']} readers, "
        f"model {result['model_version']}",
        f"{'head':<8}{'figure':<12}{'model':>9}{'95 % interval':>20}{'constant':>11}",
    ]
    for head, figures in result["model"].items():
        for name, figure in figures.items():
            interval = f"{_number(figure['low'])} to {_number(figure['high'])}"
            constant = result["constant"][head][name]["value"]
            lines.append(
                f"{head:<8}{name:<12}{_number(figure['value']):>9}{interval:>20}"
                f"{_number(constant):>11}"
            )
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
