"""Candidates: which articles a reader is compared by, compiled.

Never the whole catalogue. Candidates are the best of the common order, what is clicked together
with or after the reader's latest clicks, the best of the reader's strongest tags, new ones
about the same, and the newest.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.compiled import compiled
from worker.recommend.features import GAPS_MS, LENGTHS, NUM_GAPS
from worker.recommend.moment import Moment
from worker.recommend.state import Articles, CoClicks

FROM_ORDER = 96
FROM_SUMS = (48, 24, 24, 24)
"""Of the best by each sum of co-clicks; see `co_clicks`."""
FROM_NEWEST = 16
OWN_TAGS = 4
MAX_CANDIDATES = 384
_BOUNDS = np.asarray(LENGTHS, dtype=np.int64)
_GAPS = np.asarray(GAPS_MS, dtype=np.int64)


class Readers(NamedTuple):
    """B readers, their C clicks together, each reader's newest first.

    Attributes:
        starts: (B + 1,) int64; reader b has the clicks `starts[b]:starts[b + 1]`.
        items: (C,) int64, the articles clicked, each of a reader's once.
        times_ms: (C,) int64, descending.
        interests: (B, G + 1) float32, the reader's own interest in each tag; the last column is 0.
        affinity: (B, G + 1) float32, what readers like this one like; the last column is 0.
        languages: (B, L + 1) bool, what the reader reads; the last: language not known.
        tastes: (B, D) float32 of length 1 or 0, the mean of the vectors of the latest clicks.
        near: (B, n) int64, new articles that are about the same.
        barred_starts: (B + 1,) int64; reader b is not offered `barred` from one to the next.
        barred: (R,) int64, articles.
    """

    starts: NDArray[np.int64]
    items: NDArray[np.int64]
    times_ms: NDArray[np.int64]
    interests: NDArray[np.float32]
    affinity: NDArray[np.float32]
    languages: NDArray[np.bool_]
    tastes: NDArray[np.float32]
    near: NDArray[np.int64]
    barred_starts: NDArray[np.int64]
    barred: NDArray[np.int64]


def only(readers: Readers, reader: int) -> Readers:
    """Return one of the readers alone, as the first."""
    row = slice(reader, reader + 1)
    return readers._replace(
        starts=readers.starts[reader : reader + 2],
        interests=readers.interests[row],
        affinity=readers.affinity[row],
        languages=readers.languages[row],
        tastes=readers.tastes[row],
        near=readers.near[row],
        barred_starts=readers.barred_starts[reader : reader + 2],
    )


class Kind(NamedTuple):
    """Which weights a reader has: by history length and by time since the last click."""

    length: int
    gap: int


@compiled
def kind_of(reader: int, moment: Moment, readers: Readers) -> Kind:
    """Return a reader's kind."""
    start, end = readers.starts[reader], readers.starts[reader + 1]
    length = 0
    while length < len(_BOUNDS) and end - start >= _BOUNDS[length]:
        length += 1
    gap = len(_GAPS)
    if end > start:
        gap = 0
        while gap < len(_GAPS) and moment.now_ms - readers.times_ms[start] >= _GAPS[gap]:
            gap += 1
    return Kind(length, gap)


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
    sums: NDArray[np.float32],
    stamps: NDArray[np.int64],
    stamp: int,
    out: NDArray[np.int64],
) -> int:
    """Write a reader's candidates to `out`, each once; return how many.

    sums: see `co_clicks.add_co_clicks`. stamps: (N,) int64, scratch; `stamp`: a number of its own
    for this reader.
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
        for table in range(len(FROM_SUMS)):
            best = _best_slots(sums[table], FROM_SUMS[table], co, moment, stamps, stamp)
            for at in range(len(best)):
                if best[at] < 0:
                    break
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
def _best_slots(
    sums: NDArray[np.float32],
    wanted: int,
    co: CoClicks,
    moment: Moment,
    stamps: NDArray[np.int64],
    stamp: int,
) -> NDArray[np.int64]:
    """Return the slots with the largest positive sums that are not stamped yet, largest first."""
    top = np.full(wanted, -1, dtype=np.int64)
    least = np.float32(0.0)
    for slot in range(len(sums)):
        value = sums[slot]
        if value <= least:
            continue
        item = co.item[slot]
        if item < 0 or stamps[item] == stamp or not moment.open[item]:
            continue
        place = wanted - 1
        while place and (top[place - 1] < 0 or sums[top[place - 1]] < value):
            top[place] = top[place - 1]
            place -= 1
        top[place] = slot
        if top[-1] >= 0:
            least = sums[top[-1]]
    return top


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
