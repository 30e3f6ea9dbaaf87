"""From an estimator to figures: of a split, by number of clicks, and beside another estimator."""

from typing import Any, Protocol

import numpy as np

from export.bundle_model import Estimates
from export.data import Ints, ReaderData
from export.metrics import NUM_RESAMPLES, Resampled, resampled_figures, with_interval

NUM_CLICKS = (1, 2, 5, 10, 20)

Figures = dict[str, dict[str, Any]]  # by head and name, each {"value", "low", "high"}


class Estimator(Protocol):
    """Whatever estimates readers: a bundle, the baseline, the constant, the optimum."""

    def estimate(self, data: ReaderData, readers: Ints, num_clicks: int | None = None) -> Estimates:
        """Estimate from each reader's clicks, or from the first `num_clicks` of them."""
        ...


def figures_of(
    estimates: Estimates, data: ReaderData, readers: Ints, num_resamples: int = NUM_RESAMPLES
) -> Figures:
    """Return every figure of every head, with nulls where it is not defined."""
    found = samples_of(estimates, data, readers, num_resamples)
    return {
        head: {name: with_interval(figure, name) for name, figure in figures.items()}
        for head, figures in found.items()
    }


def samples_of(
    estimates: Estimates, data: ReaderData, readers: Ints, num_resamples: int = NUM_RESAMPLES
) -> dict[str, dict[str, Resampled]]:
    """Return every figure on the readers and on resamples, the same ones for any estimates."""
    labels = {
        "age": data.age[readers],
        "income": data.income[readers],
        "gender": data.gender[readers],
    }
    return resampled_figures(
        labels,
        years=estimates.age_years.astype(np.float64),
        sd=estimates.age_sd.astype(np.float64),
        income=estimates.income.astype(np.float64),
        female=estimates.female.astype(np.float64),
        num_resamples=num_resamples,
    )


def no_figures(figures: Figures) -> Figures:
    """Return the same heads and names with nulls."""
    nothing = {"value": None, "low": None, "high": None}
    return {head: {name: dict(nothing) for name in names} for head, names in figures.items()}


def with_clicks(data: ReaderData, readers: Ints, num_clicks: int) -> Ints:
    """Return the readers with at least so many clicks."""
    return readers[data.num_clicks()[readers] >= num_clicks]


def by_num_clicks(
    model: Estimator, others: dict[str, Estimator], data: ReaderData, readers: Ints
) -> dict[str, Any]:
    """Return the figures on the first 1, 2, 5, 10 and 20 clicks of the readers with so many.

    Under each number the model's heads, `readers`, and the heads of each of the `others`.
    """
    result: dict[str, Any] = {}
    for number in NUM_CLICKS:
        enough = with_clicks(data, readers, number)
        entry: dict[str, Any] = {"readers": len(enough)}
        for name, estimator in {"model": model, **others}.items():
            estimates = estimator.estimate(data, enough, number)
            figures = figures_of(estimates, data, enough)
            entry.update(figures if name == "model" else {name: figures})
        result[str(number)] = entry
    return result
