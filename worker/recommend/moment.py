"""What every reader of a batch is offered: the features of the articles alone, at one moment.

Computed once for a batch, whatever the number of readers: with it comes the order in which the
blend would put the articles if it knew nothing of the reader but how much and how lately they
read.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.compiled import compiled
from worker.recommend.article_features import PLACE_BITS, SOON_MS, measure
from worker.recommend.article_scores import settle, weigh, weigh_kinds
from worker.recommend.features import (
    AGE_ROWS,
    GAP_ROWS,
    GAPS_MS,
    LENGTH_ROWS,
    LENGTHS,
    NUM_AGES,
    NUM_ARTICLE,
    NUM_GAPS,
    NUM_QUIETS,
    NUM_READER_KINDS,
    QUIET_ROWS,
)
from worker.recommend.state import Items, TermLists, Terms

LISTED = 512
"""Articles of the common order."""

PER_TAG = 12
NEWEST = 512
"""Articles among which those are looked for that are about what a reader reads."""

_LENGTHS = np.asarray(LENGTHS, dtype=np.int64)
_GAPS = np.asarray(GAPS_MS, dtype=np.int64)


class Moment(NamedTuple):
    """N articles seen from one moment.

    Attributes:
        now_ms: epoch milliseconds.
        open: (N,) bool, whether an article may be shown at all.
        offered: (M,) int32, those that may.
        log_age, log_clicks: (N,) float32, logs of the time since each is known and of its clicks.
        place: (N,) int32, of each article among those on offer, -1 for others.
        features: (A, M) float32 of those on offer, less their mean over them, and scaled.
        variances: (A,) over the open articles, before they were scaled.
        kind: (N,) int32, by age and by last click: `age * NUM_QUIETS + quiet`.
        of_kind: (M,) float32, what is added to the score of each article on offer for its kind.
        scores: (NUM_READER_KINDS, N) float32, what the features of an article alone are worth to
            each kind of reader; filled for the kinds that were asked for, as is `order`.
        order: (NUM_READER_KINDS, ≤ LISTED) int32, the best by `scores`, best first.
        ordered: (NUM_READER_KINDS,) bool, which kinds have been.
        by_tag: (G, PER_TAG) int32, the best of each tag, -1 beyond the last.
        newest: (≤ NEWEST,) int32.
    """

    now_ms: int
    open: NDArray[np.bool_]
    offered: NDArray[np.int32]
    log_age: NDArray[np.float32]
    log_clicks: NDArray[np.float32]
    place: NDArray[np.int32]
    features: NDArray[np.float32]
    variances: NDArray[np.float64]
    kind: NDArray[np.int32]
    of_kind: NDArray[np.float32]
    scores: NDArray[np.float32]
    order: NDArray[np.int32]
    ordered: NDArray[np.bool_]
    by_tag: NDArray[np.int32]
    newest: NDArray[np.int32]


def look(
    items: Items,
    size: int,
    may_show: NDArray[np.bool_],
    published_ms: NDArray[np.int64],
    tags: NDArray[np.int32],
    terms: TermLists,
    known: Terms,
    num_tags: int,
    weights: NDArray[np.float64],
    scale: NDArray[np.float64],
    kinds: NDArray[np.int64],
    now_ms: int,
    kept: Moment | None = None,
) -> Moment:
    """See the first `size` articles from a moment.

    may_show: (size,) bool, what the filters of articles let through. published_ms: (size,) int64,
    `NEVER_MS` where unknown. tags: (size, T). terms: of each. known: of all.
    weights: (rows, F). scale: (F,). kinds: (≥ 1,) which kinds of readers are about to be
    served. kept: what was seen at the same moment, with the same statistics, for other readers.
    """
    seen = kept
    if seen is None:
        seen = _see(items, size, may_show, published_ms, terms, known, now_ms, weights, scale)
        if num_tags and len(seen.offered):
            by_tag = np.full((num_tags, PER_TAG), -1, dtype=np.int32)
            # In the order that is common to all readers, whoever they are served with.
            common = weights[0, :NUM_ARTICLE].astype(np.float32)
            scores = np.empty(size, dtype=np.float32)
            _list_by_tag(_in_order(seen, common, scores), tags, by_tag)
            seen = seen._replace(by_tag=by_tag)
    for kind in kinds[~seen.ordered[kinds]].tolist():
        seen.order[kind] = _in_order(seen, _reader_weights(weights)[kind], seen.scores[kind])
        seen.ordered[kind] = True
    return seen


def reweigh(seen: Moment, weights: NDArray[np.float64]) -> Moment:
    """Return what was seen as it looks by other weights, (rows, F); nothing is in order yet.

    The best of each tag stay as they are.
    """
    return seen._replace(
        of_kind=_of_kind(seen.features, seen.offered, seen.kind, weights),
        scores=np.zeros(seen.scores.shape, dtype=np.float32),
        order=np.zeros(seen.order.shape, dtype=np.int32),
        ordered=np.zeros_like(seen.ordered),
    )


def _in_order(
    seen: Moment, weights: NDArray[np.float32], scores: NDArray[np.float32]
) -> NDArray[np.int32]:
    """Write the scores, (N,), by the weights of articles, (A,); return the best, best first."""
    count = seen.order.shape[1]
    keys = np.empty(len(seen.offered), dtype=np.int64)
    weigh(seen.features, weights, seen.of_kind, seen.offered, scores, keys)
    return seen.offered[_first(keys, count)]


def _first(keys: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return the places of the lowest keys, in their order. The keys are moved."""
    if 0 < count < len(keys):
        keys.partition(count - 1)
    lowest = keys[:count]
    lowest.sort()
    return lowest & ((1 << PLACE_BITS) - 1)


def _see(
    items: Items,
    size: int,
    may_show: NDArray[np.bool_],
    published_ms: NDArray[np.int64],
    terms: TermLists,
    known: Terms,
    now_ms: int,
    weights: NDArray[np.float64],
    scale: NDArray[np.float64],
) -> Moment:
    """Return what does not depend on the readers; nothing is in order yet."""
    is_open = may_show & (items.first_ms[:size] <= now_ms)
    offered = np.flatnonzero(is_open).astype(np.int32)
    features = np.empty((NUM_ARTICLE, len(offered)), dtype=np.float32)
    kind = np.zeros(size, dtype=np.int32)
    age_keys = np.empty(len(offered), dtype=np.int64)
    means, variances = np.zeros(NUM_ARTICLE), np.zeros(NUM_ARTICLE)
    measure(
        items,
        offered,
        published_ms,
        terms,
        known,
        now_ms,
        features,
        kind,
        age_keys,
        means,
        variances,
    )
    place = np.full(size, -1, dtype=np.int32)
    settle(features, offered, means, scale, place)
    ages_ms = np.maximum(now_ms - items.first_ms[:size], 0)
    return Moment(
        now_ms,
        is_open,
        offered,
        np.log(ages_ms + SOON_MS).astype(np.float32),
        np.log(items.counts[:size, -1] + 1.0),
        place,
        features,
        variances,
        kind,
        _of_kind(features, offered, kind, weights),
        np.zeros((NUM_READER_KINDS, size), dtype=np.float32),
        np.zeros((NUM_READER_KINDS, min(LISTED, len(offered))), dtype=np.int32),
        np.zeros(NUM_READER_KINDS, dtype=np.bool_),
        np.empty((0, PER_TAG), dtype=np.int32),
        offered[_first(age_keys, min(NEWEST, len(offered)))],
    )


def _of_kind(
    features: NDArray[np.float32],
    offered: NDArray[np.int32],
    kind: NDArray[np.int32],
    weights: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Return what is added to the score of each article on offer for its kind, (M,)."""
    by_kind = np.ascontiguousarray(_kind_weights(weights).T)
    added = np.empty(len(offered), dtype=np.float32)
    weigh_kinds(features, offered, kind, by_kind, added)
    return added


@compiled
def kinds_of(num_clicks: NDArray[np.int64], gaps_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the kinds that occur among readers, sorted; as `readers.kind_of` numbers them."""
    occurs = np.zeros(NUM_READER_KINDS, dtype=np.bool_)
    for reader in range(len(num_clicks)):
        length = np.searchsorted(_LENGTHS, num_clicks[reader], side="right")
        gap = np.searchsorted(_GAPS, gaps_ms[reader], side="right")
        occurs[length * NUM_GAPS + gap] = True
    return np.flatnonzero(occurs)


def _reader_weights(weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the articles' weights by kind of reader, (NUM_READER_KINDS, A)."""
    by_length = weights[LENGTH_ROWS:GAP_ROWS, :NUM_ARTICLE]
    by_gap = weights[GAP_ROWS:AGE_ROWS, :NUM_ARTICLE]
    kinds = weights[0, :NUM_ARTICLE] + by_length[:, None] + by_gap[None, :]
    return kinds.reshape(NUM_READER_KINDS, NUM_ARTICLE).astype(np.float32)


def _kind_weights(weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return what is added for each kind of article, (NUM_KINDS, A)."""
    by_age = weights[AGE_ROWS:QUIET_ROWS, :NUM_ARTICLE]
    by_quiet = weights[QUIET_ROWS : QUIET_ROWS + NUM_QUIETS, :NUM_ARTICLE]
    kinds = by_age[:, None] + by_quiet[None, :]
    return kinds.reshape(NUM_AGES * NUM_QUIETS, NUM_ARTICLE).astype(np.float32)


@compiled
def _list_by_tag(
    order: NDArray[np.int32], tags: NDArray[np.int32], by_tag: NDArray[np.int32]
) -> None:
    filled = np.zeros(len(by_tag), dtype=np.int32)
    for at in range(len(order)):
        item = order[at]
        for place in range(tags.shape[1]):
            tag = tags[item, place]
            if tag < 0:
                break
            if filled[tag] < by_tag.shape[1]:
                by_tag[tag, filled[tag]] = item
                filled[tag] += 1
