"""What the blend learns from a click: the gradient of a choice, compiled."""

import numpy as np
from numpy.typing import NDArray

from worker.compiled import compiled
from worker.recommend.candidates import (
    MAX_CANDIDATES,
    Articles,
    Kind,
    Readers,
    find_candidates,
    kind_of,
    offer,
    weights_of,
)
from worker.recommend.features import NUM_FEATURES
from worker.recommend.moment import Moment
from worker.recommend.rank import score_candidates, score_rows
from worker.recommend.reader_features import fill_features, standardise
from worker.recommend.state import CoClicks, Items

SAMPLED = 64
"""Articles that stand for those which are not candidates."""


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
) -> Kind:
    """Write the gradient of the log-probability of the click, (F,), and return the reader's kind.

    The click is a choice among the reader's candidates: a softmax of the scores. 0 where the
    article was not on offer.
    """
    kind = kind_of(reader, moment, readers)
    out[:] = 0.0
    candidates = np.empty(MAX_CANDIDATES + 1 + SAMPLED, dtype=np.int64)
    num = find_candidates(
        reader,
        kind,
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
        return kind
    at = -1
    for c in range(num):
        if candidates[c] == clicked:
            at = c
    listed = num
    if at < 0:
        if stamps[clicked] == stamp:  # clicked before
            return kind
        at = num
        candidates[num] = clicked
        stamps[clicked] = stamp
        num += 1
    # The shortlist is what the weights prefer already: compared with it alone, they would never
    # learn what made it. A sample stands for the rest, each for as many as were left out.
    size = len(moment.open)
    first_sampled = num
    num_clicks = readers.starts[reader + 1] - readers.starts[reader]
    drawn = np.uint64(clicked * 2654435761 + num_clicks)
    for _ in range(SAMPLED):
        drawn = drawn * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
        item = int((drawn >> np.uint64(33)) % np.uint64(size))
        num = offer(item, reader, moment, articles, readers, stamps, stamp, candidates, num)
    stands_for = 1.0
    if num > first_sampled:
        stands_for = max(1.0, (moment.num_open - first_sampled) / (num - first_sampled))
    table = np.empty((num, NUM_FEATURES), dtype=np.float32)
    fill_features(reader, candidates[:num], moment, items, co, articles, readers, table)
    standardise(listed, table)
    weight = weights_of(weights, kind)
    choice_gradient(table, weight, at, first_sampled, np.log(stands_for), out)
    return kind


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
    score_rows(table, weight, score)
    for c in range(first_sampled, num):
        score[c] += log_stands_for
    top = score.max()
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
