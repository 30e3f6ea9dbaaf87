"""Find articles by reference, for a whole batch of histories at once."""

import numpy as np
from numpy.typing import NDArray

from schemas.history import REF_BYTES
from worker.compiled import compiled

_REF_BITS = 8 * REF_BYTES


class RefIndex:
    """Rows by reference.

    References are hashes: cut into as many equal ranges as there are references, about one falls
    into each, and a look into a range replaces a search through all (5 ns in place of 50).

    refs: (M,) int64 from 0 to 2^48, distinct; the row of each is its position.
    """

    def __init__(self, refs: NDArray[np.int64]) -> None:
        self._rows = np.argsort(refs)
        self._refs = refs[self._rows]
        bits = min(len(refs).bit_length(), _REF_BITS)
        self._shift = _REF_BITS - bits
        ranges = np.arange((1 << bits) + 1, dtype=np.int64) << self._shift
        self._starts = np.searchsorted(self._refs, ranges)

    def __len__(self) -> int:
        return len(self._refs)

    def find(self, refs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the row of each reference (same shape), -1 where there is none.

        refs: int64 from 0 to 2^48, what six bytes hold; not checked.

        >>> RefIndex(np.array([7, 5])).find(np.array([5, 6, 7])).tolist()
        [1, -1, 0]
        """
        found = np.empty(refs.size, dtype=np.int64)
        flat = np.ascontiguousarray(refs).reshape(-1)
        _find(flat, self._refs, self._rows, self._starts, self._shift, found)
        return found.reshape(refs.shape)


@compiled
def _find(
    wanted: NDArray[np.int64],
    refs: NDArray[np.int64],
    rows: NDArray[np.int64],
    starts: NDArray[np.int64],
    shift: int,
    found: NDArray[np.int64],
) -> None:
    for number, ref in enumerate(wanted):
        found[number] = -1
        part = ref >> shift
        for at in range(starts[part], starts[part + 1]):
            if refs[at] == ref:
                found[number] = rows[at]
                break
