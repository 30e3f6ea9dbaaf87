"""Clicks on each tag, by segments of readers and of all."""

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from worker.compiled import compiled


class TagCounts:
    """How often each tag is clicked, softly by segment: a reader belongs to several in part."""

    def __init__(self, counts: Mapping[str, NDArray[np.float64]] | None = None) -> None:
        self._rows: dict[str, int] = {}
        self._table = np.zeros((0, 0))
        for tag, row in (counts or {}).items():
            self._begin_anew(len(row))
            self._append(tag)
            self._table[self._rows[tag]] = row

    def add(
        self,
        tags: Sequence[Sequence[str]],
        readers: NDArray[np.int64],
        memberships: NDArray[np.float32],
        num_segments: NDArray[np.int64],
    ) -> None:
        """Count C clicks, each with the tags of its article.

        readers: (C,) who clicked. memberships: (R, S) how far each reader belongs to each segment;
        num_segments: (R,) how many of these the reader's model has. A model with other income
        groups brings other segments: they begin anew.
        """
        sizes = num_segments[readers]
        begin = 0
        for end in [*(np.flatnonzero(np.diff(sizes)) + 1).tolist(), len(tags)]:
            if begin < end:
                self._begin_anew(int(sizes[begin]) + 1)
                self._add(tags[begin:end], readers[begin:end], memberships)
            begin = end

    def _add(
        self,
        tags: Sequence[Sequence[str]],
        readers: NDArray[np.int64],
        memberships: NDArray[np.float32],
    ) -> None:
        names = list(chain.from_iterable(tags))
        for tag in names:
            if tag not in self._rows:
                self._append(tag)
        rows = np.fromiter(map(self._rows.__getitem__, names), dtype=np.int64, count=len(names))
        _add_rows(self._table, rows, np.repeat(readers, list(map(len, tags))), memberships)

    def _begin_anew(self, size: int) -> None:
        """Forget counts by other segments."""
        if self._table.shape[1] != size:
            self._rows.clear()
            self._table = np.zeros((64, size))

    def _append(self, tag: str) -> None:
        self._rows[tag] = len(self._rows)
        if len(self._rows) > len(self._table):
            self._table = np.concatenate([self._table, np.zeros_like(self._table)])

    def by_tag(self) -> dict[str, NDArray[np.float64]]:
        """Return the counts of each tag, (S + 1,), those of all readers last."""
        return {tag: self._table[row] for tag, row in self._rows.items()}


@compiled
def _add_rows(
    table: NDArray[np.float64],
    rows: NDArray[np.int64],
    readers: NDArray[np.int64],
    memberships: NDArray[np.float32],
) -> None:
    num_segments = table.shape[1] - 1
    for at in range(len(rows)):
        row, member = table[rows[at]], memberships[readers[at]]
        for segment in range(num_segments):
            row[segment] += member[segment]
        row[num_segments] += 1.0
