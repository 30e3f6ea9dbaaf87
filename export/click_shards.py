"""Clicks grouped by reader on disk: an external partition, each shard sorted in memory.

Clicks come in any order, with more of them than memory holds. They are appended to one file per
shard of readers; then each shard is read, sorted as the worker sorts a history, and stripped of
repetitions.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.article_files import ArticleIndex
from export.disk_arrays import Ints, new_array

READERS_PER_SHARD = 20_000
"""At 100 clicks a reader a shard is 48 MB."""

CLICK_DTYPE = np.dtype([("reader", "<u4"), ("when", "<u8"), ("event", "<u4"), ("ref", "<u8")])
"""Reader's number, epoch milliseconds, CRC-32 of the event, the article's reference."""

_MOST_SHARDS = 256
_MS_PER_HOUR = 3_600_000.0

Records = NDArray[np.void]


class ClickShards:
    """Collect the clicks of `num_readers` readers in files under `directory`."""

    def __init__(self, directory: Path, num_readers: int, readers_per_shard: int) -> None:
        wanted = -(-num_readers // readers_per_shard)
        self._paths = [
            directory / f"shard-{number}.bin" for number in range(min(_MOST_SHARDS, max(1, wanted)))
        ]
        self._counts: Ints = np.zeros(num_readers, dtype=np.int64)

    def add(self, clicks: Records) -> None:
        """Append clicks (N,) of `CLICK_DTYPE`, each to its reader's shard."""
        shard = clicks["reader"] % len(self._paths)
        order = np.argsort(shard, kind="stable")
        edges = np.searchsorted(shard[order], np.arange(len(self._paths) + 1))
        for path, start, end in zip(self._paths, edges, edges[1:], strict=False):
            if end > start:
                with path.open("ab") as file:
                    clicks[order[start:end]].tofile(file)

    def sort(self) -> int:
        """Sort each shard by reader and place in the history; return how many were repeated."""
        repeated = 0
        for path, clicks in self._shards():
            order = np.lexsort((clicks["ref"], clicks["event"], clicks["when"], clicks["reader"]))
            clicks = clicks[order]
            fresh = np.ones(len(clicks), dtype=np.bool_)
            fresh[1:] = clicks[1:] != clicks[:-1]
            repeated += len(clicks) - int(fresh.sum())
            clicks = clicks[fresh]
            clicks.tofile(path)
            self._counts += np.bincount(clicks["reader"], minlength=len(self._counts))
        return repeated

    def counts(self) -> Ints:
        """Return the number of distinct clicks of each reader, once sorted: (R,)."""
        return self._counts

    def write(self, index: ArticleIndex, clicks_path: Path, hours_path: Path) -> None:
        """Write the sorted clicks, reader by reader, as article rows and as hours since 1970."""
        ends = np.cumsum(self._counts)
        begins = ends - self._counts
        size = (int(self._counts.sum()),)
        rows, hours = (
            new_array(clicks_path, size, np.int64),
            new_array(hours_path, size, np.float64),
        )
        for path, clicks in self._shards():
            readers = clicks["reader"].astype(np.int64)
            steps = np.arange(len(readers)) - np.searchsorted(readers, readers)
            at = begins[readers] + steps
            rows[at] = index.rows(clicks["ref"])
            hours[at] = clicks["when"] / _MS_PER_HOUR
            path.unlink()

    def _shards(self) -> Iterator[tuple[Path, Records]]:
        for path in self._paths:
            if path.exists():
                yield path, np.fromfile(path, dtype=CLICK_DTYPE)
