"""The terms of an article: what it is about, as a few small numbers.

Tags and words, hashed: no vocabulary to train, ship or agree on, and any language works. They say
which articles are about the same, which subjects are hot, and which are clicked when shown.
"""

import hashlib
import re
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

MAX_TERMS = 32
NUM_TERMS = 1 << 16
NO_TERM = -1

READ_CHARACTERS = 2000
"""Of a text; its first words say what it is about."""

TEXT_WIDTH = 64
ARTICLES_AT_ONCE = 4096
"""Articles whose vectors are made at once: what is in between stays in the cache, and is small."""

_WORD = re.compile(r"\w+")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
"""Thai, Lao, Japanese, Chinese: written without spaces between words."""


def article_terms(title: str | None, body: str | None, tags: Sequence[str] | None) -> bytes:
    """Return the terms of an article, at most `MAX_TERMS` numbers as little-endian uint16.

    Tags come first, then the words of the title, then those of the body; each once.

    >>> len(article_terms("Rates rates fall", None, ["economy"])) // 2
    3
    """
    found: dict[int, None] = {}
    for name in _names(title, body, tags):
        found.setdefault(zlib.crc32(name.encode()) % NUM_TERMS)
        if len(found) == MAX_TERMS:
            break
    return np.array(list(found), dtype="<u2").tobytes()


def tag_term(tag: str) -> int:
    """Return the term of a tag."""
    return zlib.crc32(f"tag:{tag}".encode()) % NUM_TERMS


def _names(title: str | None, body: str | None, tags: Sequence[str] | None) -> Iterator[str]:
    for tag in tags or ():
        yield f"tag:{tag}"
    for text in (title, body):
        for word in _WORD.findall((text or "")[:READ_CHARACTERS].casefold()):
            if len(word) > 2 and _UNSPACED.search(word):
                yield from (word[at : at + 2] for at in range(len(word) - 1))
            else:
                yield word


def unpack_terms(packed: bytes) -> NDArray[np.int32]:
    """Return the terms as (MAX_TERMS,) int32, `NO_TERM` beyond the last."""
    terms = np.full(MAX_TERMS, NO_TERM, dtype=np.int32)
    held = np.frombuffer(packed, dtype="<u2")[:MAX_TERMS]
    terms[: len(held)] = held
    return terms


def rarity_of(terms: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return how much each term says, (NUM_TERMS,): the rarer among N articles, the more.

    terms: (N, MAX_TERMS).

    Source: Spärck Jones, "A statistical interpretation of term specificity", 1972.
    """
    num_with = np.zeros(NUM_TERMS, dtype=np.int64)
    for of in terms.T:  # place by place: the numbers are made wide to be counted
        num_with += np.bincount(of[of >= 0], minlength=NUM_TERMS)
    rarity = np.maximum(np.log((len(terms) + 1.0) / (num_with + 0.5)), 0.0)
    rarity32: NDArray[np.float32] = rarity.astype(np.float32)
    return rarity32


def text_vectors(terms: NDArray[np.int32], rarity: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors whose inner products say how much articles are about the same.

    terms: (N, MAX_TERMS). rarity: see `rarity_of`. Returns (N, TEXT_WIDTH) float32 of length 1,
    or 0 without terms: the cosine of rare terms in common, seen through a random projection, so
    that it costs the same for any number of terms.

    Source: Achlioptas, "Database-friendly random projections", 2003.
    """
    vectors = np.zeros((len(terms), TEXT_WIDTH), dtype=np.float32)
    for start in range(0, len(terms), ARTICLES_AT_ONCE):
        block = slice(start, start + ARTICLES_AT_ONCE)
        _write_vectors(terms[block], rarity, vectors[block])
    return vectors


def _write_vectors(
    terms: NDArray[np.int32], rarity: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    directions = _directions()
    for place in range(terms.shape[1]):
        rows = np.flatnonzero(terms[:, place] >= 0)
        of = terms[rows, place]
        out[rows] += rarity[of, None] * directions[of]
    norms = np.linalg.norm(out, axis=1, keepdims=True)
    out /= np.where(norms > 0, norms, 1.0)


_kept: list[NDArray[np.int8]] = []


def _directions() -> NDArray[np.int8]:
    """Return a direction for each term, (NUM_TERMS, TEXT_WIDTH) of ±1; the same in all workers."""
    if not _kept:
        drawn = hashlib.shake_128(b"directions").digest(NUM_TERMS * TEXT_WIDTH // 8)
        bits = np.unpackbits(np.frombuffer(drawn, dtype=np.uint8)).astype(np.int8)
        _kept.append(2 * bits.reshape(NUM_TERMS, TEXT_WIDTH) - 1)
    return _kept[0]
