"""Means with 95 % intervals, from resamples of the readers: a reader's clicks stand together."""

from collections.abc import Iterator

import numpy as np

from worker.compiled import compiled
from worker.stream_evaluation.protocol import Floats, Ints

NUM_RESAMPLES = 500

Figure = dict[str, float | None]
"""{"value", "low", "high"}; null where not defined."""

NOTHING: Figure = {"value": None, "low": None, "high": None}

_MOST_WEIGHTS = 2_000_000  # of one chunk of resamples: 16 MB


def means(users: Ints, columns: Floats, num_resamples: int = NUM_RESAMPLES) -> list[Figure]:
    """Return the mean of each column with its interval.

    users: (S,) whose each row is; columns: (S, M), NaN where a row does not count. The same users
    give the same resamples, so that recommenders can be compared.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993; Field and Welsh,
    "Bootstrapping clustered data", 2007.
    """
    names, readers = np.unique(users, return_inverse=True)
    counted = ~np.isnan(columns)
    sums, counts = (
        np.stack(
            [np.bincount(readers, part[:, at], len(names)) for at in range(part.shape[1])], axis=1
        )
        for part in (np.where(counted, columns, 0.0), counted)
    )
    if not len(names):
        return [dict(NOTHING) for _ in range(columns.shape[1])]
    drawn = []
    for weights in _weights(len(names), num_resamples):
        drawn.append(_ratio(weights @ sums, weights @ counts))
    samples = np.concatenate(drawn)
    values = _ratio(sums.sum(axis=0), counts.sum(axis=0))
    return [_figure(float(values[at]), samples[:, at]) for at in range(len(values))]


def coverage(
    users: Ints, pages: Ints, num_known: int, num_resamples: int = NUM_RESAMPLES
) -> Figure:
    """Return which share of the known articles is ever served, with its interval.

    users: (S,); pages: (S, k) articles, -1 for none. A resample leaves out more than a third of
    the readers and with them what only they are served: its coverage is lower than that of the
    readers themselves, so the interval is moved up by this bias and ends at 1.
    """
    names, readers = np.unique(users, return_inverse=True)
    if not len(names) or not num_known:
        return dict(NOTHING)
    width = int(pages.max(initial=0)) + 1
    pairs = np.unique((readers[:, None] * width + pages)[pages >= 0])
    whose, served = np.divmod(pairs, width)
    drawn = [
        _served_by(weights, whose, served, width) for weights in _weights(len(names), num_resamples)
    ]
    samples = np.concatenate(drawn) / num_known
    value = len(np.unique(served)) / num_known
    return _figure(value, np.minimum(samples + (value - samples.mean()), 1.0))


def _weights(size: int, num_resamples: int, seed: int = 0) -> Iterator[Floats]:
    """Yield how often each of `size` readers is drawn in each resample: (K, size)."""
    rng = np.random.default_rng(seed)
    step = max(1, _MOST_WEIGHTS // size)
    for start in range(0, num_resamples, step):
        rows = min(step, num_resamples - start)
        drawn = rng.integers(0, size, (rows, size)) + np.arange(rows)[:, None] * size
        counts = np.bincount(drawn.ravel(), minlength=rows * size)
        yield counts.reshape(rows, size).astype(np.float64)


def _ratio(sums: Floats, counts: Floats) -> Floats:
    return np.where(counts > 0, sums / np.maximum(counts, 1.0), np.nan)


def _figure(value: float, samples: Floats) -> Figure:
    defined = samples[~np.isnan(samples)]
    if np.isnan(value) or len(defined) == 0:
        return dict(NOTHING)
    low, high = np.quantile(defined, [0.025, 0.975])
    return {"value": round(value, 5), "low": round(float(low), 5), "high": round(float(high), 5)}


@compiled
def _served_by(weights: Floats, whose: Ints, served: Ints, width: int) -> Floats:
    found = np.zeros(len(weights))
    last = np.full(width, -1, dtype=np.int64)
    for sample in range(len(weights)):
        for at in range(len(whose)):
            if weights[sample, whose[at]] > 0.0 and last[served[at]] != sample:
                last[served[at]] = sample
                found[sample] += 1.0
    return found
