"""Clicks on each tag, by segments of readers and of all."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


class TagCounts:
    """How often each tag is clicked, softly by segment: a reader belongs to several in part."""

    def __init__(self, counts: Mapping[str, NDArray[np.float64]] | None = None) -> None:
        self._rows: dict[str, int] = {}
        self._table = np.zeros((0, 0))
        for tag, row in (counts or {}).items():
            self._row_of(tag, len(row))
            self._table[self._rows[tag]] = row

    def add(
        self, tags: Sequence[Sequence[str]], memberships: Sequence[NDArray[np.float32]]
    ) -> None:
        """Count clicks, each with the tags of its article and (S,) the reader's segments.

        A model with other income groups brings other segments: they begin anew.
        """
        begin = 0
        for end in range(1, len(tags) + 1):
            if end == len(tags) or len(memberships[end]) != len(memberships[begin]):
                self._add(tags[begin:end], memberships[begin:end])
                begin = end

    def _add(
        self, tags: Sequence[Sequence[str]], memberships: Sequence[NDArray[np.float32]]
    ) -> None:
        size = len(memberships[0]) + 1
        rows = [self._row_of(tag, size) for each in tags for tag in each]
        if rows:
            clicks = np.repeat(np.arange(len(tags)), [len(each) for each in tags])
            np.add.at(self._table[:, :-1], rows, np.array(memberships, dtype=np.float64)[clicks])
            np.add.at(self._table[:, -1], rows, 1.0)

    def _row_of(self, tag: str, size: int) -> int:
        if self._table.shape[1] != size:
            self._rows.clear()
            self._table = np.zeros((64, size))
        row = self._rows.setdefault(tag, len(self._rows))
        if row == len(self._table):
            self._table = np.concatenate([self._table, np.zeros_like(self._table)])
        return row

    def by_tag(self) -> dict[str, NDArray[np.float64]]:
        """Return the counts of each tag, (S + 1,), those of all readers last."""
        return {tag: self._table[row] for tag, row in self._rows.items()}
