"""On a generated newsroom, the model beside the best that any model could do."""

from pathlib import Path
from typing import Any

import numpy as np

from export.bundle_model import Estimates
from export.data import Ints, ReaderData
from export.evaluation.figures import Estimator, samples_of, with_clicks
from export.metrics import Resampled, with_interval
from export.newsroom.posterior import posterior
from export.newsroom.truth import FILE_NAME, NewsroomTruth, load_truth
from schemas.errors import ReadingSetError

NUM_CLICKS = (1, 5, 20)
FIGURES = {
    "gender": ("log_loss", "auc", "accuracy"),
    "age": ("mae",),
    "income": ("log_loss", "accuracy"),
}

_MS_PER_HOUR = 3_600_000.0


class Optimum:
    """Estimate with the exact posterior of a newsroom: no model can be expected to do better.

    Raises:
        ReadingSetError: where `directory` is not a generated newsroom.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._truth: NewsroomTruth = load_truth(directory)

    def estimate(self, data: ReaderData, readers: Ints, num_clicks: int | None = None) -> Estimates:
        """Weigh each reader's first `num_clicks`, all where None.

        The years are the posterior's median, whose absolute error is the least.

        Raises:
            ReadingSetError: where the clicks cannot come from this truth.
        """
        size = len(readers)
        result = Estimates(
            age_years=np.empty(size, dtype=np.float32),
            age_sd=np.empty(size, dtype=np.float32),
            income=np.empty((size, self._truth.num_income_groups), dtype=np.float32),
            female=np.empty(size, dtype=np.float32),
        )
        for row, reader in enumerate(readers):
            begin, end = int(data.offsets[reader]), int(data.offsets[reader + 1])
            part = slice(begin, end if num_clicks is None else min(end, begin + num_clicks))
            at_ms = np.rint(data.hours[part] * _MS_PER_HOUR).astype(np.int64)
            try:
                known = posterior(self._truth, data.clicks[part], at_ms)
            except (ValueError, IndexError) as error:
                raise ReadingSetError(
                    f"{self._directory}: its clicks do not fit {FILE_NAME}: {error}"
                ) from error
            result.age_years[row], result.age_sd[row] = known.age_years, known.age_sd_years
            result.income[row], result.female[row] = known.income, known.female
        return result


def is_newsroom(directory: Path) -> bool:
    """Say whether a reading set comes with its truth."""
    return (directory / FILE_NAME).is_file()


def beside_optimum(
    model: Estimator, data: ReaderData, readers: Ints, directory: Path
) -> dict[str, Any]:
    """Return model, optimum and their ratio on the same readers' first 1, 5 and 20 clicks.

    Under each number `readers` (with at least so many clicks), `model`, `optimum` and `ratio`
    with the same figures; a ratio's interval is of the ratio on each resample.

    Raises:
        ReadingSetError: as for `Optimum`.
    """
    optimum = Optimum(directory)
    result: dict[str, Any] = {}
    for number in NUM_CLICKS:
        enough = with_clicks(data, readers, number)
        entry: dict[str, Any] = {"readers": len(enough), "model": {}, "optimum": {}, "ratio": {}}
        reached = samples_of(model.estimate(data, enough, number), data, enough)
        best = samples_of(optimum.estimate(data, enough, number), data, enough)
        for head, names in FIGURES.items():
            for whose, figures in (
                ("model", reached[head]),
                ("optimum", best[head]),
                ("ratio", {name: _ratio(reached[head][name], best[head][name]) for name in names}),
            ):
                entry[whose][head] = {name: with_interval(figures[name]) for name in names}
        result[str(number)] = entry
    return result


def _ratio(one: Resampled, other: Resampled) -> Resampled:
    with np.errstate(divide="ignore", invalid="ignore"):
        samples = np.divide(one.samples, other.samples)
        value = float(np.divide(one.value, other.value))
    return Resampled(
        value if np.isfinite(value) else np.nan, np.where(np.isfinite(samples), samples, np.nan)
    )
