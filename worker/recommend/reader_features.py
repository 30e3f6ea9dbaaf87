"""Features of a reader and an article: computed for candidates only, compiled."""

import numpy as np
from numpy.typing import NDArray

from worker.compiled import compiled
from worker.recommend.article_features import SOON_MS
from worker.recommend.co_clicks import MODEL as MODEL_SUM
from worker.recommend.co_clicks import NEXT as NEXT_SUM
from worker.recommend.co_clicks import RECENTLY as RECENTLY_SUM
from worker.recommend.co_clicks import TOGETHER as TOGETHER_SUM
from worker.recommend.features import (
    AGE_HABIT,
    CONTENT,
    ITEM_MODEL,
    NEW_SINCE_VISIT,
    NEXT,
    NUM_ARTICLE,
    PASSED_OVER,
    POPULARITY_HABIT,
    READERS_LIKE_YOU,
    RECENTLY,
    TAGS,
    TOGETHER,
)
from worker.recommend.moment import Moment
from worker.recommend.readers import Readers
from worker.recommend.state import Articles, Items

HABIT_CLICKS = 20

_NEXT, _RECENTLY, _TOGETHER = NEXT - NUM_ARTICLE, RECENTLY - NUM_ARTICLE, TOGETHER - NUM_ARTICLE
_ITEM_MODEL, _PASSED_OVER = ITEM_MODEL - NUM_ARTICLE, PASSED_OVER - NUM_ARTICLE
_NEW_SINCE_VISIT, _AGE_HABIT = NEW_SINCE_VISIT - NUM_ARTICLE, AGE_HABIT - NUM_ARTICLE
_POPULARITY_HABIT, _TAGS = POPULARITY_HABIT - NUM_ARTICLE, TAGS - NUM_ARTICLE
_READERS_LIKE_YOU, _CONTENT = READERS_LIKE_YOU - NUM_ARTICLE, CONTENT - NUM_ARTICLE
_SHARES = (1.0 / np.sqrt(np.arange(1.0, 65.0))).astype(np.float32)
"""An article gains little by having many tags; by their number, less one."""

_LOGS = np.log(1.0 + np.arange(4097)).astype(np.float32)


@compiled
def dot_rows(ones: NDArray[np.float32], one: int, others: NDArray[np.float32], other: int) -> float:
    """Return the inner product of two rows, summed in eight parts: so it is done eight at a time.

    By their numbers: to cut out a row takes as long as to read a quarter of it.
    """
    a = b = c = d = e = f = g = h = np.float32(0.0)
    width = ones.shape[1]
    whole = width // 8 * 8
    for at in range(0, whole, 8):
        a += ones[one, at] * others[other, at]
        b += ones[one, at + 1] * others[other, at + 1]
        c += ones[one, at + 2] * others[other, at + 2]
        d += ones[one, at + 3] * others[other, at + 3]
        e += ones[one, at + 4] * others[other, at + 4]
        f += ones[one, at + 5] * others[other, at + 5]
        g += ones[one, at + 6] * others[other, at + 6]
        h += ones[one, at + 7] * others[other, at + 7]
    for at in range(whole, width):
        a += ones[one, at] * others[other, at]
    return float(((a + b) + (c + d)) + ((e + f) + (g + h)))


@compiled
def mean_vectors(
    starts: NDArray[np.int64],
    items: NDArray[np.int64],
    vectors: NDArray[np.float32],
    newest: int,
    out: NDArray[np.float32],
) -> None:
    """Write the mean direction, (B, D), of the vectors of each reader's newest clicks."""
    for reader in range(len(out)):
        for click in range(starts[reader], min(starts[reader + 1], starts[reader] + newest)):
            for axis in range(out.shape[1]):
                out[reader, axis] += vectors[items[click], axis]
        length = np.sqrt(dot_rows(out, reader, out, reader))
        if length > 0.0:
            for axis in range(out.shape[1]):
                out[reader, axis] /= length


@compiled
def most_alike(likeness: NDArray[np.float32], out: NDArray[np.int64]) -> None:
    """Write the places of the highest numbers of each row of (B, M), (B, n), first places first.

    Of equal ones the first. n: at most M.
    """
    held = np.empty(out.shape[1], dtype=np.float32)
    for reader in range(len(out)):
        row, places = likeness[reader], out[reader]
        places[:] = 0
        held[:] = -np.inf
        lowest = held[-1]
        for at in range(len(row)):
            value = row[at]
            if value > lowest:
                place = len(held) - 1
                while place and held[place - 1] < value:
                    held[place] = held[place - 1]
                    places[place] = places[place - 1]
                    place -= 1
                held[place] = value
                places[place] = at
                lowest = held[-1]
        places.sort()


@compiled
def fill_features(
    reader: int,
    candidates: NDArray[np.int64],
    moment: Moment,
    items: Items,
    sums: NDArray[np.float32],
    articles: Articles,
    readers: Readers,
    out: NDArray[np.float32],
) -> None:
    """Write what is between a reader and each of C candidates, (C, R), not scaled yet.

    sums: see `co_clicks.add_co_clicks`.
    """
    num = len(candidates)
    start, end = readers.starts[reader], readers.starts[reader + 1]
    # Row by row, to hand over a record or to cut out a row costs more than to read it.
    slot_of, first_ms, times_ms = items.slot, items.first_ms, readers.times_ms
    log_age, log_clicks = moment.log_age, moment.log_clicks
    tags, vectors, tastes = articles.tags, articles.vectors, readers.tastes
    interests, affinity = readers.interests[reader], readers.affinity[reader]
    out[:num] = 0.0
    habit_age, habit_clicks, num_habit = 0.0, 0.0, 0
    for click in range(start, min(end, start + HABIT_CLICKS)):
        item = readers.items[click]
        since = first_ms[item]
        habit_age += np.log(max(times_ms[click] - since, 0) + SOON_MS)
        habit_clicks += log_clicks[item]
        num_habit += 1
    if num_habit:
        habit_age /= num_habit
        habit_clicks /= num_habit
    visit_ms = times_ms[start] if end > start else np.int64(-1)
    for c in range(num):
        item = candidates[c]
        slot = slot_of[item]
        if slot >= 0:
            out[c, _ITEM_MODEL] = sums[MODEL_SUM, slot]
            out[c, _TOGETHER] = sums[TOGETHER_SUM, slot]
            out[c, _RECENTLY] = sums[RECENTLY_SUM, slot]
            out[c, _NEXT] = sums[NEXT_SUM, slot]
        since = first_ms[item]
        low, high = start, end
        while low < high:  # clicks later than the article: the first `low - start`
            middle = (low + high) // 2
            if times_ms[middle] > since:
                low = middle + 1
            else:
                high = middle
        out[c, _PASSED_OVER] = _LOGS[low - start]
        out[c, _NEW_SINCE_VISIT] = 1.0 if since > visit_ms else 0.0
        if num_habit:
            out[c, _AGE_HABIT] = -abs(log_age[item] - habit_age)
            out[c, _POPULARITY_HABIT] = -abs(log_clicks[item] - habit_clicks)
        num_tags = 0
        own = np.float32(0.0)
        like = np.float32(0.0)
        for place in range(tags.shape[1]):
            tag = tags[item, place]
            if tag < 0:
                break
            num_tags += 1
            own += interests[tag]
            like += affinity[tag]
        if num_tags:
            share = _SHARES[num_tags - 1]
            out[c, _TAGS] = own * share
            out[c, _READERS_LIKE_YOU] = like * share
        out[c, _CONTENT] = dot_rows(tastes, reader, vectors, item)
