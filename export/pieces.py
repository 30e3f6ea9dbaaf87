"""What the linear path sees of an article: its pieces, pairs of neighbours, and the whole of it."""

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from export.data import Ints
from schemas.tokenizer import PAD_ID

FIRST_FACTOR, SECOND_FACTOR = 1_000_003, 7_919  # primes; products stay far below 2**63
FEWEST_BUCKETS, MOST_BUCKETS = 1 << 12, 1 << 20

PLACE_MODULUS = 65_537  # a prime; a place's part in the number of a whole text is below it

_PIECES_PER_BUCKET = 2
_FEWEST_ARTICLES = 3  # that a piece or pair must be in, to be worth a weight


def num_buckets(num_pieces: int) -> int:
    """Return how many buckets pairs are hashed into, for a corpus of so many pieces.

    >>> num_buckets(300_000), num_buckets(10**9)
    (262144, 1048576)
    """
    wanted = max(1, num_pieces // _PIECES_PER_BUCKET)
    return min(MOST_BUCKETS, max(FEWEST_BUCKETS, 1 << (wanted - 1).bit_length()))


def counts_of(tokens: NDArray[np.int32], vocabulary_size: int, buckets: int) -> sp.csr_array:
    """Count pieces and pairs of articles: (A, T) ids → (A, V + buckets) float32.

    Pairs share columns where their hashes agree (Weinberger et al., "Feature Hashing for Large
    Scale Multitask Learning", 2009); padding is not counted.
    """
    ids: Ints = tokens.astype(np.int64)
    first, second = ids[:, :-1], ids[:, 1:]
    bucket = (first * FIRST_FACTOR + second * SECOND_FACTOR) % buckets + vocabulary_size
    is_pair = (first != PAD_ID) & (second != PAD_ID)
    columns = np.concatenate([ids, bucket], axis=1)
    is_there = np.concatenate([ids != PAD_ID, is_pair], axis=1)
    rows = np.repeat(np.arange(len(ids)), is_there.sum(1))
    shape = (len(ids), vocabulary_size + buckets)
    ones = np.ones(len(rows), dtype=np.float32)
    counts = sp.csr_array((ones, (rows, columns[is_there])), shape=shape)
    counts.sum_duplicates()
    return counts


def wholes_of(tokens: NDArray[np.int32]) -> Ints:
    """Return a number for each whole text: (A, T) ids → (A,), 0 for a text of nothing.

    Texts of the same pieces share it; for 256 pieces of 50,000 it is below 2**40.
    """
    places = np.arange(1, tokens.shape[1] + 1, dtype=np.int64) * FIRST_FACTOR % PLACE_MODULUS
    return np.asarray(tokens.astype(np.int64) @ places)


def damped(counts: sp.csr_array, rarity: NDArray[np.float32]) -> sp.csr_array:
    """Return (1 + log count) times rarity (F,), each row of Euclidean norm 1 (or 0)."""
    features = counts.copy()
    features.data = (1.0 + np.log(features.data)) * rarity[features.indices]
    norms = np.sqrt(np.asarray(features.multiply(features).sum(1)).ravel())
    scale = (1.0 / np.maximum(norms, 1e-9)).astype(np.float32)
    features.data *= np.repeat(scale, np.diff(features.indptr))
    features.eliminate_zeros()
    return features


def rarity_of(articles: Ints, readers: Ints, num_readers: int) -> NDArray[np.float32]:
    """Return 1 + log(readers / readers who clicked it) of each column (F,).

    articles, readers: in how many articles a column is, and how many readers clicked one of them.
    Of a column in hardly any article it is 0: nothing can be learned from it.

    Source: Spärck Jones, "A Statistical Interpretation of Term Specificity", 1972.
    """
    rarity = np.log((1.0 + num_readers) / (1.0 + readers)) + 1.0
    rarity[articles < _FEWEST_ARTICLES] = 0.0
    return np.asarray(rarity, dtype=np.float32)
