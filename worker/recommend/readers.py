"""Readers as compiled functions see them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.compiled import compiled
from worker.recommend.features import GAPS_MS, LENGTHS
from worker.recommend.moment import Moment

_BOUNDS = np.asarray(LENGTHS, dtype=np.int64)
_GAPS = np.asarray(GAPS_MS, dtype=np.int64)


class Readers(NamedTuple):
    """B readers, their C clicks together, each reader's newest first.

    Attributes:
        starts: (B + 1,) int64; reader b has the clicks `starts[b]:starts[b + 1]`.
        items: (C,) int64, the articles clicked, each of a reader's once.
        times_ms: (C,) int64, descending.
        interests: (B, G + 1) float32, the reader's own interest in each tag; the last column is 0.
        affinity: (B, G + 1) float32, what readers like this one like; the last column is 0.
        languages: (B, L + 1) bool, what the reader reads; the last: language not known.
        tastes: (B, D) float32 of length 1 or 0, the mean of the vectors of the latest clicks.
        near: (B, n) int64, new articles that are about the same.
        barred_starts: (B + 1,) int64; reader b is not offered `barred` from one to the next.
        barred: (R,) int64, articles.
    """

    starts: NDArray[np.int64]
    items: NDArray[np.int64]
    times_ms: NDArray[np.int64]
    interests: NDArray[np.float32]
    affinity: NDArray[np.float32]
    languages: NDArray[np.bool_]
    tastes: NDArray[np.float32]
    near: NDArray[np.int64]
    barred_starts: NDArray[np.int64]
    barred: NDArray[np.int64]


def only(readers: Readers, reader: int) -> Readers:
    """Return one of the readers alone, as the first."""
    row = slice(reader, reader + 1)
    return readers._replace(
        starts=readers.starts[reader : reader + 2],
        interests=readers.interests[row],
        affinity=readers.affinity[row],
        languages=readers.languages[row],
        tastes=readers.tastes[row],
        near=readers.near[row],
        barred_starts=readers.barred_starts[reader : reader + 2],
    )


class Kind(NamedTuple):
    """Which weights a reader has: by history length and by time since the last click."""

    length: int
    gap: int


@compiled
def kind_of(reader: int, moment: Moment, readers: Readers) -> Kind:
    """Return a reader's kind."""
    start, end = readers.starts[reader], readers.starts[reader + 1]
    length = 0
    while length < len(_BOUNDS) and end - start >= _BOUNDS[length]:
        length += 1
    gap = len(_GAPS)
    if end > start:
        gap = 0
        while gap < len(_GAPS) and moment.now_ms - readers.times_ms[start] >= _GAPS[gap]:
            gap += 1
    return Kind(length, gap)
