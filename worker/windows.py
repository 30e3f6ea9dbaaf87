"""Gather what a model reads of readers: their newest clicks, in windows no wider than they need."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.catalogue import Catalogue
from worker.compiled import compiled
from worker.model import ROWS_PER_RUN, Model
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


def windows_of(reading: Reading, catalogue: Catalogue, model: Model) -> Iterator[Windows]:
    """Yield the windows of all readers, a run of the model at a time.

    Padding costs as much as clicks do, and most readers have few. How wide a reader's window is
    follows from the reader alone, and so do the estimates.
    """
    sizes = np.asarray(model.windows, dtype=np.int64)
    num_held = np.minimum(reading.num_clicks, sizes[-1])
    size_of = np.searchsorted(sizes, num_held)
    order = np.argsort(size_of, kind="stable")
    bounds = np.searchsorted(size_of[order], np.arange(len(sizes) + 1))
    for number, size in enumerate(sizes.tolist()):
        same = order[bounds[number] : bounds[number + 1]]
        for start in range(0, len(same), ROWS_PER_RUN):
            readers = same[start : start + ROWS_PER_RUN]
            shape = (len(readers), size)
            rows = np.empty((*shape, catalogue.rows.shape[1]), dtype=catalogue.rows.dtype)
            ages_hours = np.empty(shape, dtype=np.float32)
            mask = np.empty(shape, dtype=np.float32)
            gather(
                reading.starts,
                reading.times_ms,
                reading.rows,
                readers,
                catalogue.rows,
                rows,
                ages_hours,
                mask,
            )
            yield Windows(readers, rows, ages_hours, mask)


@compiled
def gather(
    starts: NDArray[np.int64],
    times_ms: NDArray[np.int64],
    rows: NDArray[np.int64],
    readers: NDArray[np.int64],
    table: NDArray[np.generic],
    gathered: NDArray[np.generic],
    ages_hours: NDArray[np.float32],
    mask: NDArray[np.float32],
) -> None:
    """Fill the last three with the windows of `readers`; see `Windows` and `Reading`."""
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
