"""Candidates: which articles a reader is compared by, compiled.

Never the whole catalogue. Candidates are the best of the common order, the best by co-clicks with
what the reader clicked, the best of the reader's strongest tags, new ones about the same, and the
newest.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.compiled import compiled
from worker.recommend.co_clicks import best_slots
from worker.recommend.features import NUM_GAPS
from worker.recommend.moment import PER_TAG, Moment
from worker.recommend.readers import Kind, Readers
from worker.recommend.state import Articles, CoClicks

FROM_ORDER = 64
FROM_SLOTS = 64
"""Of the best by their own score and by co-clicks together."""
FROM_NEWEST = 16
OWN_TAGS = 4
MAX_CANDIDATES = 256


@compiled
def offer(
    listed: NDArray[Any],
    most: int,
    is_open: NDArray[np.bool_],
    language: NDArray[np.int16],
    reads: NDArray[np.bool_],
    stamps: NDArray[np.int64],
    stamp: int,
    out: NDArray[np.int64],
    count: int,
) -> int:
    """Add what a reader may see of a list, and has not been offered yet; return the new count.

    listed: items, -1 for none. most: how many of them. is_open: (N,). language: (N,).
    reads: (L + 1,), the languages of the reader. The arrays one by one, and for a list at a time:
    to hand over a record of arrays costs more than to look at an article.
    """
    full = min(len(out), count + most)
    for at in range(len(listed)):
        if count >= full:
            break
        item = listed[at]
        if item < 0 or stamps[item] == stamp or not is_open[item] or not reads[language[item]]:
            continue
        stamps[item] = stamp
        out[count] = item
        count += 1
    return count


@compiled
def find_candidates(
    reader: int,
    kind: Kind,
    moment: Moment,
    co: CoClicks,
    articles: Articles,
    readers: Readers,
    slot_scores: NDArray[np.float32],
    stamps: NDArray[np.int64],
    stamp: int,
    out: NDArray[np.int64],
) -> int:
    """Write a reader's candidates to `out`, each once; return how many.

    slot_scores: see `co_clicks.score_slots`. stamps: (N,) int64, scratch; `stamp`: a number of
    its own for this reader.
    """
    start, end = readers.starts[reader], readers.starts[reader + 1]
    for click in range(start, end):
        stamps[readers.items[click]] = stamp
    for at in range(readers.barred_starts[reader], readers.barred_starts[reader + 1]):
        stamps[readers.barred[at]] = stamp
    is_open, language, reads = moment.open, articles.languages, readers.languages[reader]
    order = moment.order[kind.length * NUM_GAPS + kind.gap]
    count = offer(order, FROM_ORDER, is_open, language, reads, stamps, stamp, out, 0)
    if end > start:
        best = np.empty(FROM_SLOTS, dtype=np.int64)
        num_best = best_slots(slot_scores, best)
        for at in range(num_best):
            best[at] = co.item[best[at]]
        best = best[:num_best]
        count = offer(best, FROM_SLOTS, is_open, language, reads, stamps, stamp, out, count)
    for tag in _strongest(readers.interests[reader]):
        if 0 <= tag < len(moment.by_tag):
            listed = moment.by_tag[tag]
            count = offer(listed, PER_TAG, is_open, language, reads, stamps, stamp, out, count)
    near, newest = readers.near[reader], moment.newest
    count = offer(near, len(near), is_open, language, reads, stamps, stamp, out, count)
    count = offer(newest, FROM_NEWEST, is_open, language, reads, stamps, stamp, out, count)
    if count < FROM_ORDER // 4:
        # Few are left of what is listed: whatever there is besides, as far as there is room.
        count = offer(moment.offered, len(out), is_open, language, reads, stamps, stamp, out, count)
    return count


@compiled
def _strongest(interests: NDArray[np.float32]) -> NDArray[np.int64]:
    top = np.full(OWN_TAGS, -1, dtype=np.int64)
    for tag in range(len(interests) - 1):
        value = interests[tag]
        if value <= 0.0 or (top[-1] >= 0 and value <= interests[top[-1]]):
            continue
        place = OWN_TAGS - 1
        while place and (top[place - 1] < 0 or interests[top[place - 1]] < value):
            top[place] = top[place - 1]
            place -= 1
        top[place] = tag
    return top
