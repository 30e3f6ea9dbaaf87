"""Candidates: which articles a reader is compared by, compiled.

Never the whole catalogue. Candidates are the best of the common order, the best by co-clicks with
what the reader clicked, the best of the reader's strongest tags, new ones about the same, and the
newest.
"""

import numpy as np
from numpy.typing import NDArray

from worker.compiled import compiled
from worker.recommend.co_clicks import best_slots
from worker.recommend.features import NUM_GAPS
from worker.recommend.moment import Moment
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
    item: int,
    reader: int,
    moment: Moment,
    articles: Articles,
    readers: Readers,
    stamps: NDArray[np.int64],
    stamp: int,
    out: NDArray[np.int64],
    count: int,
) -> int:
    """Add an article that the reader may see and has not been offered yet; return the new count."""
    if (
        count == len(out)
        or stamps[item] == stamp
        or not moment.open[item]
        or not readers.languages[reader, articles.languages[item]]
    ):
        return count
    stamps[item] = stamp
    out[count] = item
    return count + 1


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
    order = moment.order[kind.length * NUM_GAPS + kind.gap]
    count = 0
    for at in range(len(order)):
        if count == FROM_ORDER:
            break
        count = offer(order[at], reader, moment, articles, readers, stamps, stamp, out, count)
    if end > start:
        best = np.empty(FROM_SLOTS, dtype=np.int64)
        for at in range(best_slots(slot_scores, best)):
            item = co.item[best[at]]
            count = offer(item, reader, moment, articles, readers, stamps, stamp, out, count)
    for tag in _strongest(readers.interests[reader]):
        if tag < 0 or tag >= len(moment.by_tag):
            continue
        for at in range(moment.by_tag.shape[1]):
            item = moment.by_tag[tag, at]
            if item < 0:
                break
            count = offer(item, reader, moment, articles, readers, stamps, stamp, out, count)
    for at in range(readers.near.shape[1]):
        item = readers.near[reader, at]
        count = offer(item, reader, moment, articles, readers, stamps, stamp, out, count)
    before = count
    for at in range(len(moment.newest)):
        if count - before == FROM_NEWEST:
            break
        item = moment.newest[at]
        count = offer(item, reader, moment, articles, readers, stamps, stamp, out, count)
    if count < FROM_ORDER // 4:
        # Few are left of what is listed: whatever there is besides, as far as there is room.
        for item in range(len(moment.open)):
            count = offer(item, reader, moment, articles, readers, stamps, stamp, out, count)
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
