"""The figures of each head, with bootstrap 95 % intervals: pure functions on arrays.

A figure is a function of weights (K, B): how often each of B readers is in each of K resamples.
So one matrix product gives a mean on every resample, and model, baseline and constant are
measured on the same resamples.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from export.data import MISSING, Floats, Ints

NUM_RESAMPLES = 500
NUM_BINS = 10

Z80 = 1.2815515655446004
"""Half width of the central 80 % of a normal distribution, in standard deviations."""

_TINY = 1e-7
_MOST_WEIGHTS = 2_000_000  # of one chunk of resamples: 16 MB
_NO_SPREAD = 1e-12  # a variance below this share of the mean square is rounding

Figure = Callable[[Floats], Floats]
"""Weights (K, B) to values (K,), NaN where not defined."""


class Resampled(NamedTuple):
    """A figure on the readers as they are, and on each resample of them: (K,)."""

    value: float
    samples: Floats


def mean_of(values: NDArray[Any]) -> Figure:
    """Return the weighted mean of values (B,) as a figure."""
    numbers = values.astype(np.float64)
    return lambda weights: np.asarray(weights @ numbers / weights.sum(1))


def auc_of(label: Ints, score: Floats) -> Figure:
    """Return the area under the ROC curve as a figure; not defined with one kind of label.

    The chance that a positive scores above a negative; ties count half.
    """
    order = np.argsort(score, kind="stable")
    ordered = score[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] > ordered[:-1]]))
    is_positive = (label[order] == 1).astype(np.float64)

    def figure(weights: Floats) -> Floats:
        shuffled = weights[:, order]
        positive = np.add.reduceat(shuffled * is_positive, starts, axis=1)
        negative = np.add.reduceat(shuffled, starts, axis=1) - positive
        wins = (positive * (negative.cumsum(axis=1) - negative / 2.0)).sum(axis=1)
        pairs = positive.sum(axis=1) * negative.sum(axis=1)
        return np.where(pairs > 0.0, wins / np.maximum(pairs, 1.0), np.nan)

    return figure


def calibration_error_of(confidence: Floats, right: NDArray[Any]) -> Figure:
    """Return the expected calibration error as a figure, with ten bins of equal width.

    The mean over the readers of |mean confidence − observed share| of their bin.

    Source: Naeini, Cooper, Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian
    Binning", AAAI 2015; Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural
    Networks", ICML 2017.
    """
    gaps = np.zeros((len(confidence), NUM_BINS))
    gaps[np.arange(len(confidence)), bins_of(confidence)] = confidence - right
    return lambda weights: np.asarray(np.abs(weights @ gaps).sum(axis=1) / weights.sum(axis=1))


def bins_of(confidence: Floats) -> Ints:
    """Return the bin of each probability (B,), of ten of equal width.

    >>> bins_of(np.array([0.0, 0.05, 0.1, 1.0]))
    array([0, 0, 1, 9])
    """
    return np.minimum((confidence * NUM_BINS).astype(np.int64), NUM_BINS - 1)


def correlation_of(guess: Floats, truth: Floats) -> Figure:
    """Return Pearson's r as a figure; 0 where the guess is constant, since it explains nothing.

    Not defined where the truth is constant.
    """
    if len(guess) == 0:
        return lambda weights: np.full(len(weights), np.nan)
    # Moments are taken from a point of the data: far from 0 they would cancel.
    one, other = guess - guess[0], truth - truth[0]
    moments = np.stack([one, other, one**2, other**2, one * other], axis=1)

    def figure(weights: Floats) -> Floats:
        x, y, xx, yy, xy = (weights @ moments / weights.sum(1, keepdims=True)).T
        var_x, var_y = xx - x**2, yy - y**2
        moves, varies = var_x > _NO_SPREAD * xx, var_y > _NO_SPREAD * yy
        scale = np.sqrt(np.where(moves & varies, var_x * var_y, 1.0))
        return np.where(varies, np.where(moves, (xy - x * y) / scale, 0.0), np.nan)

    return figure


def gender_figures(label: Ints, female: Floats) -> dict[str, Figure]:
    """Return AUC, accuracy, log-loss (nats) and calibration error.

    label: (B,) 1 woman, 0 man; female: (B,) probability of being a woman. The calibration error
    compares this probability with the observed share of women, which is the binary form of the
    measure (Naeini et al. 2015), not the confidence in the more probable gender.
    """
    probability = np.clip(female, _TINY, 1.0 - _TINY)
    loss = -np.where(label == 1, np.log(probability), np.log1p(-probability))
    return {
        "auc": auc_of(label, female),
        "accuracy": mean_of((female >= 0.5) == (label == 1)),
        "log_loss": mean_of(loss),
        "ece": calibration_error_of(female, label == 1),
    }


def age_figures(age: Floats, years: Floats, sd: Floats) -> dict[str, Figure]:
    """Return mean absolute error, correlation and the share inside the 80 % interval."""
    error = np.abs(years - age)
    return {
        "mae": mean_of(error),
        "r": correlation_of(years, age),
        "coverage80": mean_of(error <= Z80 * sd),
    }


def income_figures(group: Ints, probabilities: Floats) -> dict[str, Figure]:
    """Return accuracy, log-loss (nats) and the calibration error of the most probable group.

    Source: Guo et al. 2017, for the error of the top label.
    """
    right = probabilities.argmax(1) == group
    loss = -np.log(np.clip(probabilities[np.arange(len(group)), group], _TINY, 1.0))
    return {
        "accuracy": mean_of(right),
        "log_loss": mean_of(loss),
        "ece": calibration_error_of(probabilities.max(1), right),
    }


def resampled_figures(
    labels: Mapping[str, NDArray[Any]],
    years: Floats,
    sd: Floats,
    income: Floats,
    female: Floats,
    num_resamples: int = NUM_RESAMPLES,
) -> dict[str, dict[str, Resampled]]:
    """Return every figure of every head on the readers and on resamples of them.

    labels: `age` (B,) with NaN, `income` and `gender` (B,) with -1 where missing. The same labels
    give the same resamples, so that two models can be compared resample by resample.
    """
    has_age = ~np.isnan(labels["age"])
    has_income, has_gender = labels["income"] != MISSING, labels["gender"] != MISSING
    heads = {
        "gender": (has_gender, gender_figures(labels["gender"][has_gender], female[has_gender])),
        "age": (has_age, age_figures(labels["age"][has_age], years[has_age], sd[has_age])),
        "income": (has_income, income_figures(labels["income"][has_income], income[has_income])),
    }
    return {
        head: resample(figures, int(known.sum()), num_resamples)
        for head, (known, figures) in heads.items()
    }


def resample(
    figures: Mapping[str, Figure], size: int, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> dict[str, Resampled]:
    """Return each figure on `size` readers and on resamples of them, drawn with replacement.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993.
    """
    if size == 0:
        return {name: Resampled(np.nan, np.full(num_resamples, np.nan)) for name in figures}
    rng = np.random.default_rng(seed)
    parts: dict[str, list[Floats]] = {name: [] for name in figures}
    step = max(1, _MOST_WEIGHTS // size)
    for start in range(0, num_resamples, step):
        weights = _draw(rng, min(step, num_resamples - start), size)
        for name, figure in figures.items():
            parts[name].append(figure(weights))
    once = np.ones((1, size))
    return {
        name: Resampled(float(figure(once)[0]), np.concatenate(parts[name]))
        for name, figure in figures.items()
    }


def with_interval(figure: Resampled, name: str = "") -> dict[str, float | None]:
    """Return a figure with its percentile 95 % interval; None where it is not defined.

    The calibration error (`ece`) of a resample is larger than that of the readers themselves,
    since it adds up absolute gaps: its interval is moved back by this bias and ends at 0.
    """
    defined = figure.samples[~np.isnan(figure.samples)]
    if np.isnan(figure.value) or len(defined) == 0:
        return {"value": None, "low": None, "high": None}
    low, high = np.quantile(defined, [0.025, 0.975])
    if name == "ece":
        bias = defined.mean() - figure.value
        low, high = max(0.0, low - bias), max(0.0, high - bias)
    return {
        "value": round(figure.value, 5),
        "low": round(float(low), 5),
        "high": round(float(high), 5),
    }


def _draw(rng: np.random.Generator, rows: int, size: int) -> Floats:
    """Return how often each of `size` readers is drawn in each of `rows` resamples."""
    drawn = rng.integers(0, size, (rows, size)) + np.arange(rows)[:, None] * size
    return np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size).astype(np.float64)
