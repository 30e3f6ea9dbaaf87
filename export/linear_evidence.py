"""The features of articles and readers that the linear path is fitted on."""

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from export.data import Ints, ReaderData
from export.pieces import counts_of, damped, num_buckets, rarity_of
from schemas.tokenizer import PAD_ID

ARTICLES_PER_CHUNK = 8_192
FLOORS = (1.0, 0.0)
"""Where rarity may begin; see `rarity_of`."""

_READERS_PER_CHUNK = 512

Number = TypeVar("Number", bound=np.generic)


class Evidence:
    """The features of articles, made when asked for: all at once need not fit into memory."""

    def __init__(
        self, data: ReaderData, tokens: NDArray[np.int32], vocabulary_size: int, readers: Ints
    ) -> None:
        self.data, self.tokens, self.readers = data, tokens, readers
        self._vocabulary_size = vocabulary_size
        pieces = sum(int((part != PAD_ID).sum()) for part in chunks(tokens, ARTICLES_PER_CHUNK))
        self._buckets = num_buckets(pieces)
        self.clicked = np.unique(np.concatenate([_clicks_of(data, reader) for reader in readers]))
        size = vocabulary_size + self._buckets
        self._in_articles = np.zeros(size, dtype=np.int64)
        for part in chunks(self.clicked, ARTICLES_PER_CHUNK):
            self._in_articles += np.bincount(self._counts(part).indices, minlength=size)
        self._by_readers = np.zeros(size, dtype=np.int64)
        for pooling, distinct in self._poolings(limit=None):
            seen = sp.csr_array(pooling @ self._counts(distinct))
            self._by_readers += np.bincount(seen.indices, minlength=size)
        self.choose(FLOORS[0])

    def choose(self, floor: float) -> None:
        """Let rarity begin at `floor`."""
        self.rarity = rarity_of(self._in_articles, self._by_readers, len(self.readers), floor)

    def features(self, articles: Ints) -> sp.csr_array:
        """Return the damped features of some articles: (n, F)."""
        return damped(self._counts(articles), self.rarity)

    def of_readers(self, limit: int) -> sp.csr_array:
        """Return the sum of each reader's newest articles over the root of their number.

        Scaled to rows of norm 1 on average, so that strengths mean the same for every set.
        """
        parts = [pooling @ self.features(some) for pooling, some in self._poolings(limit)]
        evidence = sp.csr_array(sp.vstack(parts, format="csr"))
        squares = float(np.square(evidence.data, dtype=np.float64).sum())
        evidence.data *= np.float32(np.sqrt(evidence.shape[0] / max(squares, 1e-12)))
        return evidence

    def _poolings(self, limit: int | None) -> Iterator[tuple[sp.csr_array, Ints]]:
        """Yield, for some readers at a time, a pooling (readers, articles) and its articles."""
        for readers in chunks(self.readers, _READERS_PER_CHUNK):
            clicks = [_clicks_of(self.data, reader)[-limit if limit else 0 :] for reader in readers]
            distinct, column = np.unique(np.concatenate(clicks), return_inverse=True)
            sizes = np.array([len(each) for each in clicks])
            row = np.repeat(np.arange(len(readers)), sizes)
            weight = np.repeat(1.0 / np.sqrt(sizes), sizes).astype(np.float32)
            shape = (len(readers), len(distinct))
            yield sp.csr_array((weight, (row, column)), shape=shape), distinct

    def _counts(self, articles: Ints) -> sp.csr_array:
        return counts_of(self.tokens[articles], self._vocabulary_size, self._buckets)


def chunks(values: NDArray[Number], size: int) -> list[NDArray[Number]]:
    """Cut an array into parts of `size`, the last one shorter."""
    return [values[start : start + size] for start in range(0, len(values), size)]


def _clicks_of(data: ReaderData, reader: int) -> Ints:
    return data.clicks[data.offsets[reader] : data.offsets[reader + 1]]
