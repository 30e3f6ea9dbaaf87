"""A linear item-item model in closed form, refitted now and then from the co-click counts.

EASE (Steck, "Embarrassingly shallow autoencoders for sparse data", 2019): the weights by which
the clicks of a reader predict each other, with a ridge penalty. Better than plain co-click counts
where a catalogue stays, because it discounts what is explained by other clicks already.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.compiled import compiled
from worker.recommend.state import CoClicks

PENALTY = 10.0
"""In mean clicks of an article, so that it grows with the stream."""

MIN_CLICKS = 2
MAX_MODELLED = 2048

INVERTED_WHOLE = 128
"""Rows; from 64 to 256 it makes no difference."""

MOST_ERROR = 1e-3
"""Of what a matrix and its inverse make of numbers of about 1."""


class ToFit(NamedTuple):
    """Counts that a model is fitted from, apart from those that go on.

    Attributes:
        slots: (n,) int64, the slots that have a part in it.
        item: (S,) int32, the article in each slot.
        together: (n, n) float32, co-clicks; of its diagonal, a fit makes its own. clicks: (n,)
            float32.
    """

    slots: NDArray[np.int64]
    item: NDArray[np.int32]
    together: NDArray[np.float32]
    clicks: NDArray[np.float32]


def to_fit(co: CoClicks) -> ToFit:
    """Return copies of the counts as they are."""
    slots = np.flatnonzero((co.item >= 0) & (co.clicks >= MIN_CLICKS))
    if len(slots) > MAX_MODELLED:
        slots = np.sort(slots[np.argsort(-co.clicks[slots], kind="stable")[:MAX_MODELLED]])
    together = np.empty((len(slots), len(slots)), dtype=np.float32)
    _gather(co.together, slots, together)
    return ToFit(slots, co.item.copy(), together, co.clicks[slots])


def fit_item_model(counts: ToFit) -> NDArray[np.float32]:
    """Return the model of the counts, (S, S); see `CoClicks.model`.

    Takes n³ steps for n articles. Of counts that have no model, such as singular ones, an empty
    model.
    """
    size = len(counts.item)
    fitted = np.zeros((size, size), dtype=np.float32)
    if len(counts.slots) < 2:
        return fitted
    # In single precision: the penalty keeps what is inverted far from singular. In place: each of
    # these matrices may have 17 MB. Nothing comes together with itself.
    gram = counts.together
    np.fill_diagonal(gram, counts.clicks + PENALTY * counts.clicks.mean())
    try:
        precision = inverse(gram)
    except np.linalg.LinAlgError:
        return fitted
    precision /= -np.diag(precision)
    np.fill_diagonal(precision, 0.0)
    if np.isfinite(precision).all():
        _scatter(precision, counts.slots, fitted)
    return fitted


def inverse(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the inverse of a symmetric matrix, (n, n).

    By Schur complements, halves of halves: nearly all of it is products, of which a processor does
    more at once. 2,048 rows take a sixth of the time of `numpy.linalg.inv`, which it is where
    pivots are needed; positive definite matrices need none.

    Raises:
        LinAlgError: when it is singular.
    """
    try:
        found = by_halves(matrix)
    except np.linalg.LinAlgError:
        return np.linalg.inv(matrix)
    tried = np.linspace(0.5, 1.0, len(matrix), dtype=np.float32)
    if np.abs(found @ (matrix @ tried) - tried).max() < MOST_ERROR:  # never of NaN
        return found
    return np.linalg.inv(matrix)


def by_halves(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what is the inverse of a matrix if no half of it needs pivots; see `inverse`."""
    size = len(matrix)
    if size <= INVERTED_WHOLE:
        return np.linalg.inv(matrix)
    half = size // 2
    first = by_halves(matrix[:half, :half])
    across: NDArray[np.float32] = matrix[half:, :half] @ first
    rest: NDArray[np.float32] = matrix[half:, half:] - across @ matrix[:half, half:]
    second = by_halves(rest)
    found = np.empty_like(matrix)
    below = found[half:, :half]
    np.negative(second @ across, out=below)
    found[half:, half:] = second
    found[:half, half:] = below.T
    found[:half, :half] = first - across.T @ below
    return found


# numpy's way with lists of rows and columns takes two or three times as long, and keeps the
# interpreter's lock for 10 ms of a large matrix: no click would be answered meanwhile.


@compiled
def _gather(table: NDArray[np.float32], at: NDArray[np.int64], out: NDArray[np.float32]) -> None:
    """Write the rows and columns of a table, (S, S), that are asked for, (n, n)."""
    for row in range(len(at)):
        for column in range(len(at)):
            out[row, column] = table[at[row], at[column]]


@compiled
def _scatter(values: NDArray[np.float32], at: NDArray[np.int64], out: NDArray[np.float32]) -> None:
    """Write values, (n, n), to rows and columns of a table, (S, S)."""
    for row in range(len(at)):
        for column in range(len(at)):
            out[at[row], at[column]] = values[row, column]
