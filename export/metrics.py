"""The figures of each head, with bootstrap 95 % intervals: pure functions on arrays."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.data import MISSING, Floats, Ints

NUM_RESAMPLES = 500

_Z80 = 1.2815515655446004  # half width of the central 80 % of a normal distribution, in sd
_TINY = 1e-7

Figure = Callable[[Ints], float]


def area_under_curve(label: Ints, score: Floats) -> float:
    """Return the chance that a positive scores above a negative; ties count half.

    >>> area_under_curve(np.array([0, 0, 1, 1]), np.array([0.1, 0.6, 0.6, 0.9]))
    0.875
    """
    positives = int(label.sum())
    negatives = len(label) - positives
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[inverse]
    wins = float(ranks[label == 1].sum()) - positives * (positives + 1) / 2.0
    return wins / (positives * negatives)


def gender_figures(label: Ints, female: Floats) -> dict[str, Figure]:
    """Return AUC, accuracy and log-loss (nats) as functions of a resample's indices."""
    probability = np.clip(female, _TINY, 1.0 - _TINY)
    loss = -np.where(label == 1, np.log(probability), np.log1p(-probability))
    right = (female >= 0.5) == (label == 1)
    return {
        "auc": lambda chosen: area_under_curve(label[chosen], female[chosen]),
        "accuracy": lambda chosen: float(right[chosen].mean()),
        "log_loss": lambda chosen: float(loss[chosen].mean()),
    }


def age_figures(age: Floats, years: Floats, sd: Floats) -> dict[str, Figure]:
    """Return mean absolute error, correlation and the share inside the 80 % interval."""
    error = np.abs(years - age)
    inside = error <= _Z80 * sd
    return {
        "mae": lambda chosen: float(error[chosen].mean()),
        "r": lambda chosen: _correlation(years[chosen], age[chosen]),
        "coverage80": lambda chosen: float(inside[chosen].mean()),
    }


def income_figures(group: Ints, probabilities: Floats) -> dict[str, Figure]:
    """Return accuracy and log-loss (nats)."""
    right = probabilities.argmax(1) == group
    loss = -np.log(np.clip(probabilities[np.arange(len(group)), group], _TINY, 1.0))
    return {
        "accuracy": lambda chosen: float(right[chosen].mean()),
        "log_loss": lambda chosen: float(loss[chosen].mean()),
    }


def all_figures(
    labels: Mapping[str, NDArray[Any]], years: Floats, sd: Floats, income: Floats, female: Floats
) -> dict[str, dict[str, Any]]:
    """Return every figure of every head that has labels, with its interval.

    labels: `age` (B,) with NaN, `income` and `gender` (B,) with -1 where missing.
    """
    has_age = ~np.isnan(labels["age"])
    has_income, has_gender = labels["income"] != MISSING, labels["gender"] != MISSING
    heads = {
        "gender": (has_gender, gender_figures(labels["gender"][has_gender], female[has_gender])),
        "age": (has_age, age_figures(labels["age"][has_age], years[has_age], sd[has_age])),
        "income": (has_income, income_figures(labels["income"][has_income], income[has_income])),
    }
    return {
        head: {name: with_interval(figure, int(known.sum())) for name, figure in figures.items()}
        for head, (known, figures) in heads.items()
        if known.any()
    }


def with_interval(figure: Figure, size: int, seed: int = 0) -> dict[str, float | None]:
    """Return the figure with its bootstrap 95 % interval; None where it is not defined.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, percentile interval.
    """
    rng = np.random.default_rng(seed)
    values = [figure(rng.integers(0, size, size)) for _ in range(NUM_RESAMPLES)]
    defined = np.array([value for value in values if not np.isnan(value)])
    low, high = np.quantile(defined, [0.025, 0.975]) if len(defined) else (np.nan, np.nan)
    return {
        "value": _rounded(figure(np.arange(size))),
        "low": _rounded(float(low)),
        "high": _rounded(float(high)),
    }


def _correlation(one: Floats, other: Floats) -> float:
    """Return Pearson's r; 0 where one side is constant, since it then explains nothing."""
    if len(one) < 2 or np.ptp(one) == 0.0 or np.ptp(other) == 0.0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 5)
