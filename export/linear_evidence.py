"""The features of articles and readers that the linear path is fitted on."""

from collections.abc import Iterator
from typing import NamedTuple, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from export.data import Ints, ReaderData
from export.kernel import Float32s
from export.pieces import counts_of, damped, num_buckets, rarity_of, wholes_of
from schemas.tokenizer import PAD_ID

ARTICLES_PER_CHUNK = 8_192

MOST_WHOLES = 16_384

_READERS_PER_CHUNK = 512
_FEWEST_READERS = 3  # that an article must have, to be worth a weight of its own
_BUCKETS_PER_WHOLE = 4

Number = TypeVar("Number", bound=np.generic)


class Wholes(NamedTuple):
    """The W articles that have a weight of their own, by the numbers of their whole texts.

    What an article is tells more of its readers than its words do, where many have read it. Each
    number is alone in its bucket, the number modulo `buckets`.
    """

    numbers: Ints  # (W,) ascending
    rarity: Float32s  # (W,) log of readers over readers who clicked it
    buckets: int


class Evidence:
    """The features of articles, made when asked for: all at once need not fit into memory.

    An article has V + buckets damped counts of pieces and pairs, and one of W wholes.
    """

    def __init__(
        self, data: ReaderData, tokens: NDArray[np.int32], vocabulary_size: int, readers: Ints
    ) -> None:
        self.data, self.tokens, self.readers = data, tokens, readers
        self.vocabulary_size = vocabulary_size
        pieces = sum(int((part != PAD_ID).sum()) for part in chunks(tokens, ARTICLES_PER_CHUNK))
        self._buckets = num_buckets(pieces)
        self._whole = np.concatenate(
            [wholes_of(part) for part in chunks(tokens, ARTICLES_PER_CHUNK)]
        )
        clicked = np.unique(np.concatenate([_clicks_of(data, reader) for reader in readers]))
        size = vocabulary_size + self._buckets
        in_articles, by_readers = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
        for part in chunks(clicked, ARTICLES_PER_CHUNK):
            in_articles += np.bincount(self._counts(part).indices, minlength=size)
        met = []
        for pooling, distinct in self._poolings(limit=None):
            seen = sp.csr_array(pooling @ self._counts(distinct))
            by_readers += np.bincount(seen.indices, minlength=size)
            reader, column = sp.csr_array(pooling).nonzero()
            pairs = np.stack([reader, self._whole[distinct][column]])
            met.append(np.unique(pairs, axis=1)[1])  # a text that has two ids is met once
        self.rarity = rarity_of(in_articles, by_readers, len(readers))
        self.wholes = _own_weights(np.concatenate(met), len(readers))

    def features(self, articles: Ints) -> sp.csr_array:
        """Return the damped counts of some articles: (n, V + buckets)."""
        return damped(self._counts(articles), self.rarity)

    def whole(self, articles: Ints) -> sp.csr_array:
        """Return which of the wholes some articles are, as its rarity: (n, W)."""
        numbers, rarity, _ = self.wholes
        at = np.searchsorted(numbers, self._whole[articles])
        at[at == len(numbers)] = 0
        found = np.flatnonzero(np.isin(self._whole[articles], numbers))
        shape = (len(articles), len(numbers))
        return sp.csr_array((rarity[at[found]], (found, at[found])), shape=shape)

    def of_readers(self, limit: int) -> tuple[sp.csr_array, sp.csr_array]:
        """Return the sums of each reader's newest articles over the root of their number.

        Of the damped counts (R, V + buckets) and of the wholes (R, W).
        """
        counted, known = [], []
        for pooling, distinct in self._poolings(limit):
            counted.append(pooling @ self.features(distinct))
            known.append(pooling @ self.whole(distinct))
        return (
            sp.csr_array(sp.vstack(counted, format="csr")),
            sp.csr_array(sp.vstack(known, format="csr")),
        )

    def clicks(self, limit: int) -> Ints:
        """Return how many of the readers clicked each article, among their newest: (A,)."""
        newest = [_clicks_of(self.data, reader)[-limit:] for reader in self.readers]
        return np.bincount(np.concatenate(newest), minlength=len(self.tokens))

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
        return counts_of(self.tokens[articles], self.vocabulary_size, self._buckets)


def chunks(values: NDArray[Number], size: int) -> list[NDArray[Number]]:
    """Cut an array into parts of `size`, the last one shorter."""
    return [values[start : start + size] for start in range(0, len(values), size)]


def _own_weights(met: Ints, num_readers: int) -> Wholes:
    """Choose the wholes that most readers met; met: (M,) a number for each text of a reader."""
    numbers, readers = np.unique(met[met > 0], return_counts=True)
    most = np.argsort(-readers, kind="stable")[:MOST_WHOLES]
    most = most[readers[most] >= _FEWEST_READERS]
    buckets = 1 << (max(1, _BUCKETS_PER_WHOLE * len(most)) - 1).bit_length()
    _, first = np.unique(numbers[most] % buckets, return_index=True)
    kept = np.sort(most[first])
    rarity = np.log((1.0 + num_readers) / (1.0 + readers[kept]))
    return Wholes(numbers[kept], rarity.astype(np.float32), buckets)


def _clicks_of(data: ReaderData, reader: int) -> Ints:
    return data.clicks[data.offsets[reader] : data.offsets[reader + 1]]
