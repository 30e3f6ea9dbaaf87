"""What every reader of a batch is offered: the features of the articles alone, at one moment.

Computed once for a batch, whatever the number of readers: with it comes the order in which the
blend would put the articles if it knew nothing of the reader but how much and how lately they
read.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.compiled import compiled
from worker.recommend.features import (
    AGE,
    AGE_ROWS,
    AGES_MS,
    APPEAL,
    CLICK_THROUGH,
    GAP_ROWS,
    GAPS_MS,
    HALF_LIVES_H,
    HALF_LIVES_MS,
    HOT_TERMS,
    KIND,
    LENGTH_ROWS,
    LENGTHS,
    NEWCOMER_HALF_LIVES_H,
    NEWCOMERS,
    NUM_AGES,
    NUM_ARTICLE,
    NUM_GAPS,
    NUM_HALF_LIVES,
    NUM_QUIETS,
    NUM_READER_KINDS,
    QUIET_ROWS,
    SHOWN,
    SINCE_LAST,
    UNCLICKED,
)
from worker.recommend.state import NEVER_MS, Articles, Items, Terms
from worker.recommend.subjects import appeal_of, heat_of

LISTED = 512
"""Articles of the common order."""

PER_TAG = 12
NEWEST = 512
"""Articles among which those are looked for that are about what a reader reads."""

_FLOOR = 0.01  # of a click: what keeps the logarithm of an unclicked article's count finite
_LOG_FLOOR = float(np.log(_FLOOR))
SOON_MS = 600_000.0
_LONG_AGO_MS = 3.0e9
_AGES = np.asarray(AGES_MS, dtype=np.int64)
_NEWCOMER_FADES = tuple(HALF_LIVES_H.index(hours) for hours in NEWCOMER_HALF_LIVES_H)


class Moment(NamedTuple):
    """N articles seen from one moment.

    Attributes:
        now_ms: epoch milliseconds.
        open: (N,) bool, whether an article may be shown at all.
        offered: (M,) int32, those that may.
        log_age, log_clicks: (N,) float32, logs of the time since each is known and of its clicks.
        features: (N, A) float32, less their mean over the open articles, and scaled.
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
    articles: Articles,
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
    `NEVER_MS` where unknown. articles: (size,). known: of their terms. weights: (rows, F).
    scale: (F,). kinds: (≥ 1,) which kinds of readers are about to be served. kept: what was seen at
    the same moment, with the same statistics, for other readers.
    """
    seen = kept
    if seen is None:
        seen = _see(items, size, may_show, published_ms, articles.terms, known, now_ms)
        seen.features[:] *= scale[:NUM_ARTICLE].astype(np.float32)
        seen = seen._replace(of_kind=_of_kind(seen, weights))
        if num_tags and len(seen.offered):
            by_tag = np.full((num_tags, PER_TAG), -1, dtype=np.int32)
            # In the order that is common to all readers, whoever they are served with.
            own = seen.features[seen.offered]
            common = own @ weights[0, :NUM_ARTICLE].astype(np.float32) + seen.of_kind
            _list_by_tag(seen.offered[_best_first(common[None])[0]], articles.tags, by_tag)
            seen = seen._replace(by_tag=by_tag)
    missing = kinds[~seen.ordered[kinds]]
    if len(missing):
        own = seen.features[seen.offered]
        wanted = _reader_weights(weights)[missing] @ own.T + seen.of_kind
        seen.scores[np.ix_(missing, seen.offered)] = wanted
        seen.order[missing] = seen.offered[_best_first(wanted)]
        seen.ordered[missing] = True
    return seen


def _of_kind(seen: Moment, weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return what is added to the score of each article on offer for its kind, (M,)."""
    own = seen.features[seen.offered]
    added: NDArray[np.float32] = np.einsum(
        "nf,nf->n", _kind_weights(weights)[seen.kind[seen.offered]], own
    )
    return added


def _see(
    items: Items,
    size: int,
    may_show: NDArray[np.bool_],
    published_ms: NDArray[np.int64],
    terms: NDArray[np.int32],
    known: Terms,
    now_ms: int,
) -> Moment:
    """Return what does not depend on the readers; nothing is in order yet."""
    features = np.zeros((size, NUM_ARTICLE), dtype=np.float32)
    kind = np.zeros(size, dtype=np.int32)
    variances = np.zeros(NUM_ARTICLE)
    is_open = may_show & (items.first_ms[:size] <= now_ms)
    _article_features(items, published_ms, is_open, now_ms, terms, known, features, kind, variances)
    offered = np.flatnonzero(is_open)
    since = items.first_ms[offered]
    count = min(NEWEST, len(offered))
    newest = offered[np.argpartition(-since, count - 1)[:count]] if count else offered
    newest = newest[np.argsort(-items.first_ms[newest], kind="stable")]
    known_ms = np.maximum(now_ms - items.first_ms[:size], 0) + SOON_MS
    return Moment(
        now_ms,
        is_open,
        offered.astype(np.int32),
        np.log(known_ms).astype(np.float32),
        np.log(items.counts[:size, -1] + 1.0),
        features,
        variances,
        kind,
        np.empty(0, dtype=np.float32),
        np.zeros((NUM_READER_KINDS, size), dtype=np.float32),
        np.zeros((NUM_READER_KINDS, min(LISTED, len(offered))), dtype=np.int32),
        np.zeros(NUM_READER_KINDS, dtype=np.bool_),
        np.empty((0, PER_TAG), dtype=np.int32),
        newest.astype(np.int32),
    )


def kinds_of(num_clicks: NDArray[np.int64], gaps_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the kinds that occur among readers, sorted; as `readers.kind_of` numbers them."""
    lengths = np.searchsorted(LENGTHS, num_clicks, side="right")
    gaps = np.searchsorted(GAPS_MS, gaps_ms, side="right")
    return np.unique(lengths * NUM_GAPS + gaps)


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


def _best_first(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the places of the highest `LISTED` scores of each row, (K, N), highest first."""
    count = min(LISTED, scores.shape[1])
    if not count:
        return np.empty((len(scores), 0), dtype=np.int64)
    top = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    strength = np.take_along_axis(scores, top, axis=1)
    best: NDArray[np.int64] = np.take_along_axis(
        top, np.argsort(-strength, axis=1, kind="stable"), axis=1
    )
    return best


@compiled
def _rung(time_ms: float) -> int:
    """Return how many of the bounds of ages a time has passed."""
    rung = 0
    while rung < len(_AGES) and time_ms > _AGES[rung]:
        rung += 1
    return rung


@compiled
def _article_features(
    items: Items,
    published_ms: NDArray[np.int64],
    is_open: NDArray[np.bool_],
    now_ms: int,
    terms: NDArray[np.int32],
    known: Terms,
    out: NDArray[np.float32],
    kind: NDArray[np.int32],
    variances: NDArray[np.float64],
) -> None:
    size, num_features = out.shape
    total = np.zeros(num_features)
    square = np.zeros(num_features)
    shown = 0.0
    clicked = 0.0
    for item in range(size):
        shown += items.shown[item, 0]
        clicked += items.shown[item, 1]
    rate = (clicked + 1.0) / (shown + 10.0)
    num_open = 0
    num_dated = 0
    fade = np.empty(NUM_HALF_LIVES)
    for item in range(size):
        if not is_open[item]:
            continue
        num_open += 1
        last_ms = items.last_ms[item]
        quiet_ms = _LONG_AGO_MS if last_ms == NEVER_MS else max(now_ms - last_ms, 0)
        for h in range(NUM_HALF_LIVES):
            halvings = quiet_ms / HALF_LIVES_MS[h]
            # What has halved thirty times is nothing, and most of an archive has.
            fade[h] = 0.0 if last_ms == NEVER_MS or halvings > 30.0 else 2.0**-halvings
            faded = items.counts[item, h] * fade[h]
            out[item, h] = np.log(faded + _FLOOR) if faded > 0.0 else _LOG_FLOOR
        for h in range(len(_NEWCOMER_FADES)):
            faded = items.newcomers[item, h] * fade[_NEWCOMER_FADES[h]]
            out[item, NEWCOMERS + h] = np.log(faded + _FLOOR) if faded > 0.0 else _LOG_FLOOR
        since = published_ms[item]
        if since < 0:
            since = items.first_ms[item]
        if since > 0:
            num_dated += 1
            out[item, AGE] = np.log(max(now_ms - since, 0) + SOON_MS)
        out[item, SINCE_LAST] = np.log(quiet_ms + SOON_MS / 10.0)
        out[item, UNCLICKED] = 1.0 if last_ms == NEVER_MS else 0.0
        if items.shown[item, 0] > 0.0:
            # Smoothed by ten showings of the average article.
            through = (items.shown[item, 1] + 10.0 * rate) / (items.shown[item, 0] + 10.0)
            out[item, SHOWN] = np.log(items.shown[item, 0] + 1.0)
            out[item, CLICK_THROUGH] = np.log(through / rate)
        out[item, HOT_TERMS] = heat_of(known.heat, terms[item])
        if shown:
            out[item, APPEAL] = appeal_of(items.appeal[item, 0], known.appeal, terms[item])
        quiet = NUM_QUIETS - 1 if last_ms == NEVER_MS else _rung(quiet_ms)
        kind[item] = _rung(now_ms - items.first_ms[item]) * NUM_QUIETS + quiet
        for feature in range(num_features):
            total[feature] += out[item, feature]
            square[feature] += out[item, feature] ** 2
    if num_open:
        for feature in range(num_features):
            # Of undated articles the age is not known: they stand in the middle.
            num = max(num_dated, 1) if feature == AGE else num_open
            total[feature] /= num
            variances[feature] = max(square[feature] / num - total[feature] ** 2, 0.0)
    for item in range(size):
        if not is_open[item]:
            continue
        dated = out[item, AGE] != 0.0
        for feature in range(num_features):
            if feature != AGE or dated:
                out[item, feature] -= total[feature]
    out[:, KIND] = 1.0
    variances[KIND] = 1.0


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
