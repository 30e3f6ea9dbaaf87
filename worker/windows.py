"""Gather what a model reads of readers: their newest clicks, in windows no wider than they need."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.compiled import compiled
from worker.model import ROWS_PER_RUN
from worker.reading import MS_PER_HOUR, Reading


class Windows(NamedTuple):
    """The newest clicks of some readers of a batch, as `Model.estimate` takes them.

    Attributes:
        readers: (B,) int64, which of the batch.
        rows: (B, N, W) what the catalogue holds of each click, 0 where absent or not known.
        ages_hours: (B, N) float32 since the click, seen from the newest.
        mask: (B, N) float32, 1 where there is a click on a known article.
    """

    readers: NDArray[np.int64]
    rows: NDArray[np.generic]
    ages_hours: NDArray[np.float32]
    mask: NDArray[np.float32]


def windows_of(
    reading: Reading, table: NDArray[np.generic], sizes: Sequence[int]
) -> Iterator[Windows]:
    """Yield the windows of all readers, a run of the model at a time.

    table: (M, W), the catalogue's rows. sizes: ascending; a reader's window is the first that holds
    the reader's newest clicks. Padding costs as much as clicks do, and most readers have few; and
    how wide the window is must not depend on other readers, or the estimates would.
    """
    bounds = np.asarray(sizes)
    size_of = np.searchsorted(bounds, np.minimum(reading.num_clicks, bounds[-1]))
    for number, size in enumerate(sizes):
        same = np.flatnonzero(size_of == number)
        for start in range(0, len(same), ROWS_PER_RUN):
            yield gather(reading, same[start : start + ROWS_PER_RUN], table, size)


def gather(
    reading: Reading, readers: NDArray[np.int64], table: NDArray[np.generic], size: int
) -> Windows:
    """Return the windows of some readers, `size` clicks wide."""
    shape = (len(readers), size)
    windows = Windows(
        readers,
        np.empty((*shape, table.shape[1]), dtype=table.dtype),
        np.empty(shape, dtype=np.float32),
        np.empty(shape, dtype=np.float32),
    )
    _fill(reading.starts, reading.times_ms, reading.rows, readers, table, *windows[1:])
    return windows


@compiled
def _fill(
    starts: NDArray[np.int64],
    times_ms: NDArray[np.int64],
    rows: NDArray[np.int64],
    readers: NDArray[np.int64],
    table: NDArray[np.generic],
    gathered: NDArray[np.generic],
    ages_hours: NDArray[np.float32],
    mask: NDArray[np.float32],
) -> None:
    size = mask.shape[1]
    for at, reader in enumerate(readers):
        start = starts[reader]
        held = min(starts[reader + 1] - start, size)
        for place in range(held):
            click = start + place
            ages_hours[at, place] = (times_ms[start] - times_ms[click]) / MS_PER_HOUR
            row = rows[click]
            if row < 0:
                mask[at, place] = 0.0
                gathered[at, place] = 0
            else:
                mask[at, place] = 1.0
                gathered[at, place] = table[row]
        ages_hours[at, held:] = 0.0
        mask[at, held:] = 0.0
        gathered[at, held:] = 0
