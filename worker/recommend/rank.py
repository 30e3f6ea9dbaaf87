"""Rank articles for readers: candidates → features → scores → selection, compiled.

Never the whole catalogue per reader. Candidates are the best of the common order, what is clicked
together with or after the reader's latest clicks, the best of the reader's strongest tags, and
the newest.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.compiled import compiled
from worker.recommend.features import (
    AGE_HABIT,
    CONTENT,
    GAPS_MS,
    ITEM_MODEL,
    LENGTHS,
    LIFT,
    NEW_SINCE_VISIT,
    NEXT,
    NUM_ARTICLE,
    NUM_FEATURES,
    PASSED_OVER,
    POPULARITY_HABIT,
    READERS_LIKE_YOU,
    RECENTLY,
    TAGS,
    TOGETHER,
)
from worker.recommend.learn import FADING, FOLLOWED, WINDOW
from worker.recommend.moment import NUM_GAPS, SOON_MS, Moment
from worker.recommend.state import CoClicks, Items

FROM_ORDER = 96
FROM_NEIGHBOURS = 12
"""Of each of the reader's `FOLLOWED` latest clicks, and of each table."""
FROM_NEWEST = 16
OWN_TAGS = 4
MAX_CANDIDATES = 384
SAMPLED = 64
RECENT_FADING = 0.9
HABIT_CLICKS = 20
_LOGS = np.log(1.0 + np.arange(4097)).astype(np.float32)
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
        blocked_starts: (B + 1,) int64, as `starts`, of what must not be shown.
        blocked: (K,) int64 articles.
    """

    starts: NDArray[np.int64]
    items: NDArray[np.int64]
    times_ms: NDArray[np.int64]
    interests: NDArray[np.float32]
    affinity: NDArray[np.float32]
    languages: NDArray[np.bool_]
    tastes: NDArray[np.float32]
    blocked_starts: NDArray[np.int64]
    blocked: NDArray[np.int64]


class Articles(NamedTuple):
    """What the catalogue knows of N articles.

    Attributes:
        tags: (N, T) int32, -1 beyond the last.
        languages: (N,) int16, -1 where not known.
        vectors: (N, D) float32 of length 1 or 0.
    """

    tags: NDArray[np.int32]
    languages: NDArray[np.int16]
    vectors: NDArray[np.float32]


@compiled
def dot(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return the inner product, summed in eight parts: so it is done eight at a time."""
    a = b = c = d = e = f = g = h = np.float32(0.0)
    whole = len(one) // 8 * 8
    for at in range(0, whole, 8):
        a += one[at] * other[at]
        b += one[at + 1] * other[at + 1]
        c += one[at + 2] * other[at + 2]
        d += one[at + 3] * other[at + 3]
        e += one[at + 4] * other[at + 4]
        f += one[at + 5] * other[at + 5]
        g += one[at + 6] * other[at + 6]
        h += one[at + 7] * other[at + 7]
    for at in range(whole, len(one)):
        a += one[at] * other[at]
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
        length = np.sqrt(dot(out[reader], out[reader]))
        if length > 0.0:
            for axis in range(out.shape[1]):
                out[reader, axis] /= length


@compiled
def kind_of(num_clicks: int, gap_ms: int) -> tuple[int, int]:
    """Return which weights a reader has: by history length and by time since the last click."""
    length = 0
    while length < len(_BOUNDS) and num_clicks >= _BOUNDS[length]:
        length += 1
    gap = 0
    while gap < len(_GAPS) and gap_ms >= _GAPS[gap]:
        gap += 1
    return length, gap


@compiled
def weights_of(weights: NDArray[np.float64], length: int, gap: int) -> NDArray[np.float64]:
    """Return the weights of a kind of reader, (F,)."""
    total: NDArray[np.float64] = weights[0] + weights[1 + length] + weights[2 + len(_BOUNDS) + gap]
    return total


@compiled
def _may_see(item: int, reader: int, moment: Moment, articles: Articles, readers: Readers) -> bool:
    return bool(moment.open[item] and readers.languages[reader, articles.languages[item]])


@compiled
def find_candidates(
    reader: int,
    kind: int,
    moment: Moment,
    items: Items,
    co: CoClicks,
    articles: Articles,
    readers: Readers,
    stamps: NDArray[np.int64],
    stamp: int,
    out: NDArray[np.int64],
) -> int:
    """Write a reader's candidates to `out`, each once; return how many.

    stamps: (N,) int64, scratch; `stamp`: a number of its own for this reader.
    """
    start, end = readers.starts[reader], readers.starts[reader + 1]
    for click in range(start, end):
        stamps[readers.items[click]] = stamp
    for at in range(readers.blocked_starts[reader], readers.blocked_starts[reader + 1]):
        stamps[readers.blocked[at]] = stamp
    count = 0
    for at in range(moment.order.shape[1]):
        item = moment.order[kind, at]
        if stamps[item] != stamp and _may_see(item, reader, moment, articles, readers):
            stamps[item] = stamp
            out[count] = item
            count += 1
            if count == FROM_ORDER:
                break
    limit = len(out)
    for click in range(start, min(end, start + FOLLOWED)):
        slot = items.slot[readers.items[click]]
        if slot < 0:
            continue
        for table in (co.neighbours, co.followers, co.model_neighbours):
            for at in range(FROM_NEIGHBOURS):
                other = table[slot, at]
                if other < 0 or count == limit:
                    break
                item = co.item[other]
                if stamps[item] != stamp and _may_see(item, reader, moment, articles, readers):
                    stamps[item] = stamp
                    out[count] = item
                    count += 1
    for tag in _strongest(readers.interests[reader]):
        if tag < 0 or tag >= len(moment.by_tag):
            continue
        for at in range(moment.by_tag.shape[1]):
            item = moment.by_tag[tag, at]
            if item < 0 or count == limit:
                break
            if stamps[item] != stamp and _may_see(item, reader, moment, articles, readers):
                stamps[item] = stamp
                out[count] = item
                count += 1
    taken = 0
    for at in range(len(moment.newest)):
        if taken == FROM_NEWEST or count == limit:
            break
        item = moment.newest[at]
        if stamps[item] != stamp and _may_see(item, reader, moment, articles, readers):
            stamps[item] = stamp
            out[count] = item
            count += 1
            taken += 1
    if count < FROM_ORDER // 4:
        # Few are left of what is listed: everything there is.
        for item in range(len(moment.open)):
            if count == limit:
                break
            if stamps[item] != stamp and _may_see(item, reader, moment, articles, readers):
                stamps[item] = stamp
                out[count] = item
                count += 1
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


@compiled
def fill_features(
    reader: int,
    candidates: NDArray[np.int64],
    moment: Moment,
    items: Items,
    co: CoClicks,
    articles: Articles,
    readers: Readers,
    out: NDArray[np.float32],
) -> None:
    """Write the features of C candidates, (C, F), those of the reader not standardised yet."""
    num = len(candidates)
    start, end = readers.starts[reader], readers.starts[reader + 1]
    slots = np.empty(num, dtype=np.int64)
    out[:num, NUM_ARTICLE:] = 0.0
    habit_age, habit_clicks, num_habit = 0.0, 0.0, 0
    for click in range(start, min(end, start + HABIT_CLICKS)):
        item = readers.items[click]
        since = items.first_ms[item]
        habit_age += np.log(max(readers.times_ms[click] - since, 0) + SOON_MS)
        habit_clicks += moment.log_clicks[item]
        num_habit += 1
    if num_habit:
        habit_age /= num_habit
        habit_clicks /= num_habit
    visit_ms = readers.times_ms[start] if end > start else np.int64(-1)
    for c in range(num):
        item = candidates[c]
        slots[c] = items.slot[item]
        for feature in range(NUM_ARTICLE):
            out[c, feature] = moment.features[item, feature]
        since = items.first_ms[item]
        low, high = start, end
        while low < high:  # clicks later than the article: the first `low - start`
            middle = (low + high) // 2
            if readers.times_ms[middle] > since:
                low = middle + 1
            else:
                high = middle
        out[c, PASSED_OVER] = _LOGS[low - start]
        out[c, NEW_SINCE_VISIT] = 1.0 if since > visit_ms else 0.0
        if num_habit:
            out[c, AGE_HABIT] = -abs(moment.log_age[item] - habit_age)
            out[c, POPULARITY_HABIT] = -abs(moment.log_clicks[item] - habit_clicks)
        num_tags = 0
        own = np.float32(0.0)
        like = np.float32(0.0)
        for place in range(articles.tags.shape[1]):
            tag = articles.tags[item, place]
            if tag < 0:
                break
            num_tags += 1
            own += readers.interests[reader, tag]
            like += readers.affinity[reader, tag]
        if num_tags:
            # An article gains little by having many tags.
            share = np.float32(1.0 / np.sqrt(num_tags))
            out[c, TAGS] = own * share
            out[c, READERS_LIKE_YOU] = like * share
        out[c, CONTENT] = dot(readers.tastes[reader], articles.vectors[item])
    _fill_co_clicks(reader, slots, items, co, readers, out)


@compiled
def standardise(num: int, table: NDArray[np.float32]) -> None:
    """Standardise the reader's features of all rows by mean and deviation of the first `num`."""
    for feature in range(NUM_ARTICLE, NUM_FEATURES):
        total = 0.0
        square = 0.0
        for c in range(num):
            total += table[c, feature]
            square += table[c, feature] * table[c, feature]
        mean = total / max(num, 1)
        variance = square / max(num, 1) - mean * mean
        scale = 1.0 / np.sqrt(variance) if variance > 1e-9 else 0.0
        for c in range(len(table)):
            table[c, feature] = np.float32((table[c, feature] - mean) * scale)


@compiled
def _fill_co_clicks(
    reader: int,
    slots: NDArray[np.int64],
    items: Items,
    co: CoClicks,
    readers: Readers,
    out: NDArray[np.float32],
) -> None:
    num = len(slots)
    weight = np.empty(num, dtype=np.float32)
    for c in range(num):
        if slots[c] >= 0:
            weight[c] = 1.0 / np.sqrt(co.clicks[slots[c]] + 3.0)
    start, end = readers.starts[reader], readers.starts[reader + 1]
    following = np.float32(1.0)
    recent = np.float32(1.0)
    for click in range(start, min(end, start + WINDOW)):
        position = click - start
        slot = items.slot[readers.items[click]]
        if slot >= 0:
            near = np.float32(1.0 / np.sqrt(co.clicks[slot] + 3.0))
            for c in range(num):
                other = slots[c]
                if other < 0:
                    continue
                out[c, ITEM_MODEL] += co.model[slot, other]
                both = co.together[slot, other] * near
                out[c, TOGETHER] += both * weight[c]
                out[c, LIFT] += both * near * weight[c] * weight[c]
                if position < FOLLOWED:
                    out[c, RECENTLY] += recent * both * weight[c]
                    out[c, NEXT] += following * co.next[slot, other] * near * weight[c]
        following *= np.float32(FADING)
        recent *= np.float32(RECENT_FADING)
    # Square roots, because counts of co-clicks have long tails.
    for c in range(num):
        out[c, TOGETHER] = np.sqrt(out[c, TOGETHER])
        out[c, LIFT] = np.sqrt(out[c, LIFT])
        out[c, RECENTLY] = np.sqrt(out[c, RECENTLY])
        out[c, NEXT] = np.sqrt(out[c, NEXT])


@compiled
def _best_of(score: NDArray[np.float64], top: NDArray[np.int64]) -> int:
    """Write the places of the highest scores, highest first; return how many there are."""
    held = 0
    for c in range(len(score)):
        if held == len(top) and score[c] <= score[top[held - 1]]:
            continue
        place = held if held < len(top) else held - 1
        while place and score[top[place - 1]] < score[c]:
            top[place] = top[place - 1]
            place -= 1
        top[place] = c
        held = min(held + 1, len(top))
    return held


@compiled
def rank_readers(
    moment: Moment,
    items: Items,
    co: CoClicks,
    articles: Articles,
    readers: Readers,
    weights: NDArray[np.float64],
    best: NDArray[np.int64],
    scores: NDArray[np.float32],
    features: NDArray[np.float32],
    used: NDArray[np.float64],
) -> None:
    """Write each reader's best articles, best first.

    best: (B, M) int64, -1 where there is no more. scores: (B, M) float32. features: (B, M, F)
    float32. used: (B, F), the reader's weights; features times weights add up to the score.
    """
    num_readers, wanted = best.shape
    stamps = np.zeros(len(moment.open), dtype=np.int64)
    candidates = np.empty(MAX_CANDIDATES, dtype=np.int64)
    table = np.empty((MAX_CANDIDATES, NUM_FEATURES), dtype=np.float32)
    score = np.empty(MAX_CANDIDATES, dtype=np.float64)
    top = np.empty(wanted, dtype=np.int64)
    for reader in range(num_readers):
        start, end = readers.starts[reader], readers.starts[reader + 1]
        gap_ms = moment.now_ms - readers.times_ms[start] if end > start else 1 << 60
        length, gap = kind_of(end - start, gap_ms)
        weight = weights_of(weights, length, gap)
        used[reader] = weight
        num = find_candidates(
            reader,
            length * NUM_GAPS + gap,
            moment,
            items,
            co,
            articles,
            readers,
            stamps,
            reader + 1,
            candidates,
        )
        fill_features(reader, candidates[:num], moment, items, co, articles, readers, table)
        standardise(num, table[:num])
        for c in range(num):
            value = 0.0
            for feature in range(NUM_FEATURES):
                value += weight[feature] * table[c, feature]
            score[c] = value
        held = _best_of(score[:num], top)
        for place in range(wanted):
            if place >= held:
                best[reader, place] = -1
                continue
            c = top[place]
            best[reader, place] = candidates[c]
            scores[reader, place] = score[c]
            for feature in range(NUM_FEATURES):
                features[reader, place, feature] = table[c, feature]


@compiled
def score_candidates(
    moment: Moment,
    items: Items,
    co: CoClicks,
    articles: Articles,
    readers: Readers,
    weight: NDArray[np.float64],
    given: NDArray[np.int64],
    scores: NDArray[np.float64],
    features: NDArray[np.float32],
) -> None:
    """Score given articles, (C,), for the first reader by weights, (F,).

    scores: (C,). features: (C, F), not weighted, standardised over what the reader would be
    offered, so that they mean what they mean in a page.
    """
    end = readers.starts[1]
    gap_ms = moment.now_ms - readers.times_ms[0] if end else 1 << 60
    length, gap = kind_of(end, gap_ms)
    candidates = np.empty(MAX_CANDIDATES + len(given), dtype=np.int64)
    stamps = np.zeros(len(moment.open), dtype=np.int64)
    num = find_candidates(
        0,
        length * NUM_GAPS + gap,
        moment,
        items,
        co,
        articles,
        readers,
        stamps,
        1,
        candidates[:MAX_CANDIDATES],
    )
    candidates[num : num + len(given)] = given
    whole = num + len(given)
    table = np.empty((whole, NUM_FEATURES), dtype=np.float32)
    fill_features(0, candidates[:whole], moment, items, co, articles, readers, table)
    standardise(num, table)
    for c in range(len(given)):
        features[c] = table[num + c]
        scores[c] = 0.0
        for feature in range(NUM_FEATURES):
            scores[c] += weight[feature] * table[num + c, feature]


@compiled
def gradient_of(
    reader: int,
    clicked: int,
    moment: Moment,
    items: Items,
    co: CoClicks,
    articles: Articles,
    readers: Readers,
    weights: NDArray[np.float64],
    stamps: NDArray[np.int64],
    stamp: int,
    out: NDArray[np.float64],
) -> tuple[int, int]:
    """Write the gradient of the log-probability of the click, (F,), and return the reader's kind.

    The click is a choice among the reader's candidates: a softmax of the scores. 0 where the
    article was not on offer.
    """
    start, end = readers.starts[reader], readers.starts[reader + 1]
    gap_ms = moment.now_ms - readers.times_ms[start] if end > start else 1 << 60
    length, gap = kind_of(end - start, gap_ms)
    out[:] = 0.0
    candidates = np.empty(MAX_CANDIDATES + 1 + SAMPLED, dtype=np.int64)
    num = find_candidates(
        reader,
        length * NUM_GAPS + gap,
        moment,
        items,
        co,
        articles,
        readers,
        stamps,
        stamp,
        candidates[:MAX_CANDIDATES],
    )
    if num < 2 or not moment.open[clicked]:
        return length, gap
    at = -1
    for c in range(num):
        if candidates[c] == clicked:
            at = c
    listed = num
    if at < 0:
        if stamps[clicked] == stamp:  # clicked before, or blocked
            return length, gap
        at = num
        candidates[num] = clicked
        stamps[clicked] = stamp
        num += 1
    # The shortlist is what the weights prefer already: compared with it alone, they would never
    # learn what made it. A sample stands for the rest, each for as many as were left out.
    size = len(moment.open)
    first_sampled = num
    drawn = np.uint64(clicked * 2654435761 + end - start)
    for _ in range(SAMPLED):
        drawn = drawn * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
        item = int((drawn >> np.uint64(33)) % np.uint64(size))
        if stamps[item] != stamp and _may_see(item, reader, moment, articles, readers):
            stamps[item] = stamp
            candidates[num] = item
            num += 1
    stands_for = 1.0
    if num > first_sampled:
        stands_for = max(1.0, (moment.num_open - first_sampled) / (num - first_sampled))
    table = np.empty((num, NUM_FEATURES), dtype=np.float32)
    fill_features(reader, candidates[:num], moment, items, co, articles, readers, table)
    standardise(listed, table)
    weight = weights_of(weights, length, gap)
    choice_gradient(table, weight, at, first_sampled, np.log(stands_for), out)
    return length, gap


@compiled
def choice_gradient(
    table: NDArray[np.float32],
    weight: NDArray[np.float64],
    at: int,
    first_sampled: int,
    log_stands_for: float,
    out: NDArray[np.float64],
) -> None:
    """Write the gradient of log softmax(table · weight)[at] by the weight, (F,).

    Rows from `first_sampled` on stand for exp(`log_stands_for`) articles each.
    """
    num = len(table)
    score = np.empty(num)
    top = -np.inf
    for c in range(num):
        value = 0.0
        for feature in range(NUM_FEATURES):
            value += weight[feature] * table[c, feature]
        if c >= first_sampled:
            value += log_stands_for
        score[c] = value
        top = max(top, value)
    total = 0.0
    for c in range(num):
        score[c] = np.exp(score[c] - top)
        total += score[c]
    for feature in range(NUM_FEATURES):
        expected = 0.0
        for c in range(num):
            expected += score[c] * table[c, feature]
        out[feature] = table[at, feature] - expected / total


@compiled
def strongest_links(
    items: Items,
    co: CoClicks,
    readers: Readers,
    page: NDArray[np.int64],
    out: NDArray[np.int64],
) -> None:
    """Write which of the reader's clicks says most for each article of a page, (B, k), or -1."""
    for reader in range(len(page)):
        start, end = readers.starts[reader], readers.starts[reader + 1]
        for place in range(page.shape[1]):
            if page[reader, place] < 0:
                continue
            slot = items.slot[page[reader, place]]
            if slot < 0:
                continue
            most = 0.0
            for click in range(start, min(end, start + WINDOW)):
                other = items.slot[readers.items[click]]
                if other < 0:
                    continue
                strength = co.together[other, slot] / np.sqrt(co.clicks[other] + 3.0)
                if strength > most:
                    most = strength
                    out[reader, place] = readers.items[click]


@compiled
def impression_lesson(
    moment: Moment,
    items: Items,
    co: CoClicks,
    articles: Articles,
    readers: Readers,
    weight: NDArray[np.float64],
    shown: NDArray[np.int64],
    clicked: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Return the gradient, (F,), of the clicks of an impression by its weights, (F,).

    shown: (C,) items. clicked: (C,). Each click is a choice among itself and what was not clicked.
    """
    features = np.empty((len(shown), NUM_FEATURES), dtype=np.float32)
    scores = np.empty(len(shown))
    score_candidates(moment, items, co, articles, readers, weight, shown, scores, features)
    total = np.zeros(NUM_FEATURES)
    gradient = np.empty(NUM_FEATURES)
    left = np.flatnonzero(~clicked)
    table = np.empty((len(left) + 1, NUM_FEATURES), dtype=np.float32)
    for c in range(len(left)):
        table[c + 1] = features[left[c]]
    for c in range(len(shown)):
        if clicked[c]:
            table[0] = features[c]
            choice_gradient(table, weight, 0, len(table), 0.0, gradient)
            total += gradient
    return total
