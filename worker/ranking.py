"""Choose each reader's front page: candidates → filter → score → top-k, as pure array functions.

Score of an article for a reader: the reader's own interest in its tags, what readers like this
one like (tag affinity), and freshness. Never the whole catalogue per reader: candidates are the
newest articles of the reader's strongest tags and the newest of all; only a reader who has read
all of those is ranked against everything.
"""

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from worker.catalogue import MAX_TAGS, NO_TAG, UNPUBLISHED_MS, Catalogue
from worker.reading import MS_PER_HOUR

NEWEST_PER_TAG = 32
NEWEST_OF_ALL = 64
OWN_TAGS = 8
AFFINITY_TAGS = 4


class Weights(NamedTuple):
    """How much each signal counts."""

    tags: float
    affinity: float
    fresh: float
    fresh_half_life_h: float


class Shortlists(NamedTuple):
    """The newest articles, overall and by tag, as of one moment.

    Attributes:
        freshness: (M,) float32, 1 for an article published now, halving every half-life; 0
            where the time of publication is not known.
        ahead: (M,) bool, whether the publication is still to come.
        by_tag: (G, NEWEST_PER_TAG) int64 rows, -1 beyond the last.
        newest: (≤ NEWEST_OF_ALL,) int64 rows.
    """

    freshness: NDArray[np.float32]
    ahead: NDArray[np.bool_]
    by_tag: NDArray[np.int64]
    newest: NDArray[np.int64]


class Ranked(NamedTuple):
    """The k best articles of B readers, best first.

    Attributes:
        rows: (B, k) int64 catalogue rows, -1 where there is no more.
        from_tags: (B, k, T) float32 share of the score from each of the article's tags.
        from_affinity: (B, k) float32.
        from_freshness: (B, k) float32.
    """

    rows: NDArray[np.int64]
    from_tags: NDArray[np.float32]
    from_affinity: NDArray[np.float32]
    from_freshness: NDArray[np.float32]

    @property
    def scores(self) -> NDArray[np.float32]:
        """(B, k) float32: the sum of the shares."""
        total: NDArray[np.float32] = self.from_tags.sum(axis=2)
        return total + self.from_affinity + self.from_freshness


def shortlist(catalogue: Catalogue, now_ms: int, half_life_h: float) -> Shortlists:
    """Sort the catalogue by publication, once for many readers."""
    size = len(catalogue)
    published = catalogue.published_ms[:size]
    ages_h = (now_ms - published) / MS_PER_HOUR
    freshness = np.exp2(-np.maximum(ages_h, 0.0) / half_life_h).astype(np.float32)
    freshness[published == UNPUBLISHED_MS] = 0.0
    ahead = published > now_ms
    newest_first = np.argsort(-published, kind="stable")
    newest_first = newest_first[~ahead[newest_first]]

    tags = catalogue.tags[:size][newest_first]  # (M', T)
    position, column = np.nonzero(tags != NO_TAG)
    tag = tags[position, column]
    order = np.argsort(tag, kind="stable")  # keeps newest first within a tag
    tag, rows = tag[order], newest_first[position[order]]
    rank = np.arange(len(tag)) - np.searchsorted(tag, tag)
    listed = rank < NEWEST_PER_TAG
    by_tag = np.full((len(catalogue.tag_names), NEWEST_PER_TAG), -1, dtype=np.int64)
    by_tag[tag[listed], rank[listed]] = rows[listed]
    return Shortlists(freshness, ahead, by_tag, newest_first[:NEWEST_OF_ALL])


def rank(
    catalogue: Catalogue,
    shortlists: Shortlists,
    interests: NDArray[np.float32],
    affinity: NDArray[np.float32],
    seen: tuple[NDArray[np.int64], NDArray[np.int64]],
    languages: NDArray[np.bool_],
    weights: Weights,
    k: int,
) -> Ranked:
    """Rank articles for B readers.

    interests, affinity: (B, G) float32 over the catalogue's tags. seen: pairs of reader and row
    that must not come again. languages: (B, L + 1) bool, what the reader reads; the last column
    stands for articles whose language is not known.
    """
    size = len(shortlists.freshness)
    if not size:
        return _nothing(len(interests), k)
    hidden = ~languages[:, catalogue.languages[:size]]  # (B, M)
    reader_of, row = seen
    listed = row < size  # the shortlists may be a moment older than the catalogue
    hidden[reader_of[listed], row[listed]] = True
    hidden |= shortlists.ahead
    candidates = _candidates(shortlists, interests, affinity)
    ranked = _score(catalogue, shortlists, interests, affinity, candidates, hidden, weights, k)
    short = np.flatnonzero((ranked.rows < 0).any(axis=1))
    short = short[np.count_nonzero(~hidden[short], axis=1) > (ranked.rows[short] >= 0).sum(axis=1)]
    for reader in short:
        only = slice(reader, reader + 1)
        everything = np.flatnonzero(~hidden[reader])[None, :]
        exhaustive = _score(
            catalogue,
            shortlists,
            interests[only],
            affinity[only],
            everything,
            hidden[only],
            weights,
            k,
        )
        ranked.rows[only] = exhaustive.rows
        ranked.from_tags[only] = exhaustive.from_tags
        ranked.from_affinity[only] = exhaustive.from_affinity
        ranked.from_freshness[only] = exhaustive.from_freshness
    return ranked


def _nothing(readers: int, k: int) -> Ranked:
    return Ranked(
        np.full((readers, k), -1, dtype=np.int64),
        np.zeros((readers, k, MAX_TAGS), dtype=np.float32),
        np.zeros((readers, k), dtype=np.float32),
        np.zeros((readers, k), dtype=np.float32),
    )


def _candidates(
    shortlists: Shortlists, interests: NDArray[np.float32], affinity: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Return candidate rows (B, C), -1 where there is none; repeats are possible."""
    readers = len(interests)
    newest = np.broadcast_to(shortlists.newest, (readers, len(shortlists.newest)))
    num_tags = len(shortlists.by_tag)
    if not num_tags:
        return newest
    own = _strongest(interests[:, :num_tags], OWN_TAGS)
    like = _strongest(affinity[:, :num_tags], AFFINITY_TAGS)
    listed = shortlists.by_tag[np.concatenate([own, like], axis=1)].reshape(readers, -1)
    return np.concatenate([listed, newest], axis=1)


def _strongest(values: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    if values.shape[1] <= count:
        return np.broadcast_to(np.arange(values.shape[1]), values.shape)
    return np.argpartition(-values, count - 1, axis=1)[:, :count]


def _score(
    catalogue: Catalogue,
    shortlists: Shortlists,
    interests: NDArray[np.float32],
    affinity: NDArray[np.float32],
    candidates: NDArray[np.int64],
    hidden: NDArray[np.bool_],
    weights: Weights,
    k: int,
) -> Ranked:
    readers = np.arange(len(candidates))[:, None]
    # Sorted, a repeated candidate stands beside itself.
    rows = np.sort(candidates, axis=1)  # (B, C)
    refused = (rows < 0) | hidden[readers, rows]
    refused[:, 1:] |= rows[:, 1:] == rows[:, :-1]

    tags = catalogue.tags[rows]  # (B, C, T)
    num_of = np.maximum((tags != NO_TAG).sum(axis=2), 1)
    share = 1.0 / np.sqrt(num_of, dtype=np.float32)  # an article gains little by having many tags
    by_reader = np.arange(len(candidates))[:, None, None]
    # The last column stands for "no tag" (-1) and weighs nothing.
    own = _with_nothing(interests)[by_reader, tags]
    like = _with_nothing(affinity)[by_reader, tags].sum(axis=2) * share
    fresh = shortlists.freshness[rows]
    score = weights.tags * own.sum(axis=2) * share + weights.affinity * like + weights.fresh * fresh
    score[refused] = -np.inf

    top = _top(score, k)
    chosen = np.where(np.isfinite(score[readers, top]), rows[readers, top], -1)
    empty = chosen < 0
    from_tags = weights.tags * own[readers, top] * share[readers, top][:, :, None]
    from_tags[empty] = 0.0
    return Ranked(
        _widen(chosen, k, -1),
        _widen(from_tags.astype(np.float32), k, 0.0),
        _widen(_unless(empty, weights.affinity * like[readers, top]), k, 0.0),
        _widen(_unless(empty, weights.fresh * fresh[readers, top]), k, 0.0),
    )


def _unless(empty: NDArray[np.bool_], values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(empty, np.float32(0.0), values)


def _with_nothing(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([values, np.zeros((len(values), 1), dtype=np.float32)], axis=1)


def _top(score: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    if score.shape[1] > k:
        part = np.argpartition(-score, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(score, part, axis=1), axis=1, kind="stable")
        return np.take_along_axis(part, order, axis=1)
    return np.argsort(-score, axis=1, kind="stable")


Scalar = TypeVar("Scalar", bound=np.generic)


def _widen(values: NDArray[Scalar], k: int, fill: float) -> NDArray[Scalar]:
    if values.shape[1] == k:
        return values
    whole = np.full((values.shape[0], k, *values.shape[2:]), fill, dtype=values.dtype)
    whole[:, : values.shape[1]] = values
    return whole
