"""Number references in the order in which they come: a hash table of arrays, compiled.

A click comes with up to 256 others that it is counted together with: looked up one by one in a
dict of Python numbers, they cost more than all that is counted.
"""

import numpy as np
from numpy.typing import NDArray

from worker.compiled import compiled

_FREE = -1
"""Also what stands for no number where one is looked for."""

_FIRST_SIZE = 2048
"""Places of the table: twice the references it may hold."""


class Numbering:
    """References, each with its number: 0 for the first that came."""

    def __init__(self, refs: NDArray[np.int64] | None = None) -> None:
        self._refs = np.empty(0, dtype=np.int64)
        self._num = 0
        self._table = np.full(_FIRST_SIZE, _FREE, dtype=np.int32)
        if refs is not None:
            self.number(refs)

    def __len__(self) -> int:
        return self._num

    @property
    def refs(self) -> NDArray[np.int64]:
        """The references by number, (N,)."""
        return self._refs[: self._num]

    def number(self, refs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of each reference, (C,), new ones for new references."""
        most = self._num + len(refs)
        if most > len(self._refs):
            self._refs = np.append(self.refs, np.empty(max(most, self._num), dtype=np.int64))
        if 2 * most > len(self._table):
            size = len(self._table)
            while 2 * most > size:
                size *= 2
            self._table = np.full(size, _FREE, dtype=np.int32)
            _place(self._table, self.refs)
        numbers = np.empty(len(refs), dtype=np.int64)
        self._num = _number(self._table, self._refs, self._num, refs, numbers)
        return numbers

    def find(self, refs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of each reference (same shape), -1 of those that have none.

        >>> Numbering(np.array([7, 5])).find(np.array([5, 6, 7])).tolist()
        [1, -1, 0]
        """
        found = np.empty(refs.size, dtype=np.int64)
        _find(self._table, self._refs, np.ascontiguousarray(refs).reshape(-1), found)
        return found.reshape(refs.shape)


@compiled
def _place(table: NDArray[np.int32], refs: NDArray[np.int64]) -> None:
    mask = len(table) - 1
    for number in range(len(refs)):
        at = refs[number] & mask  # references are hashes already
        while table[at] != _FREE:
            at = (at + 1) & mask
        table[at] = number


@compiled
def _number(
    table: NDArray[np.int32],
    held: NDArray[np.int64],
    num: int,
    refs: NDArray[np.int64],
    out: NDArray[np.int64],
) -> int:
    mask = len(table) - 1
    for place in range(len(refs)):
        ref = refs[place]
        at = ref & mask
        while table[at] != _FREE and held[table[at]] != ref:
            at = (at + 1) & mask
        if table[at] == _FREE:
            table[at] = num
            held[num] = ref
            num += 1
        out[place] = table[at]
    return num


@compiled
def _find(
    table: NDArray[np.int32],
    held: NDArray[np.int64],
    refs: NDArray[np.int64],
    out: NDArray[np.int64],
) -> None:
    mask = len(table) - 1
    for place in range(len(refs)):
        ref = refs[place]
        at = ref & mask
        while table[at] != _FREE and held[table[at]] != ref:
            at = (at + 1) & mask
        out[place] = table[at]
