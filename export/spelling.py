"""What pieces have in common: the letters within them.

A piece that few readers met has too little evidence of its own; pieces spelled alike (walk,
walking; a compound and its parts; two words with one character) lend it some. The weights of
shared letters are added to those of the pieces they are in, so that a score costs no more.

Source: Bojanowski et al., "Enriching Word Vectors with Subword Information", 2017.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse as sp

_FEWEST_BYTES, _MOST_BYTES = 3, 6
"""In UTF-8: three to six Latin letters, one or two Chinese characters."""


def spelling_of(pieces: Sequence[str]) -> sp.csr_array:
    """Return which letters each piece holds, as weights: (V, G) float32.

    Of G runs of letters that two pieces or more hold; one in n pieces counts 1 / sqrt(1 + n).

    >>> spelling_of(["walk", "walking", "sea"]).toarray().astype(float).round(2).tolist()
    [[0.58, 0.58, 0.58], [0.58, 0.58, 0.58], [0.0, 0.0, 0.0]]
    """
    number: dict[str, int] = {}
    rows, columns = [], []
    for row, piece in enumerate(pieces):
        # The mark of a word's beginning takes as many bytes as a Chinese character.
        # In order of occurrence: that of a set changes between processes, and sums with it.
        for letters in dict.fromkeys(_runs(piece.replace("▁", " "))):
            rows.append(row)
            columns.append(number.setdefault(letters, len(number)))
    shape = (len(pieces), len(number))
    held = sp.csc_array((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=shape)
    num_pieces = np.diff(held.indptr)
    scale = np.where(num_pieces > 1, 1.0 / np.sqrt(1.0 + num_pieces), 0.0)
    shared = held[:, np.flatnonzero(scale)] @ sp.diags_array(scale[scale > 0.0])
    return sp.csr_array(shared, dtype=np.float32)


def _runs(piece: str) -> Iterator[str]:
    if piece.startswith("<") and piece.endswith(">"):
        return  # stands for a byte, for padding or for what is unknown
    for start in range(len(piece)):
        size = 0
        for end in range(start, len(piece)):
            size += len(piece[end].encode())
            if size > _MOST_BYTES:
                break
            if size >= _FEWEST_BYTES:
                yield piece[start : end + 1]
