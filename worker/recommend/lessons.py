"""What the blend learns from a click: the gradient of a choice, compiled."""

import numpy as np
from numpy.typing import NDArray

from worker.compiled import compiled
from worker.recommend.candidates import MAX_CANDIDATES, offer
from worker.recommend.co_clicks import NUM_SUMS, score_alone
from worker.recommend.features import (
    NUM_AGES,
    NUM_ARTICLE,
    NUM_FEATURES,
    NUM_GAPS,
    NUM_QUIETS,
    NUM_READER,
)
from worker.recommend.moment import Moment
from worker.recommend.rank import describe, shortlist
from worker.recommend.reader_features import fill_features
from worker.recommend.readers import Kind, Readers, kind_of
from worker.recommend.state import Articles, CoClicks, Items
from worker.recommend.weighing import score_candidates, weigh_reader, write_row

SAMPLED = 64
"""Articles that stand for those which are not candidates."""


@compiled
def learn_click(
    reader: int,
    clicked: int,
    moment: Moment,
    items: Items,
    co: CoClicks,
    rare: NDArray[np.float32],
    articles: Articles,
    readers: Readers,
    weights: NDArray[np.float64],
    scale: NDArray[np.float64],
    stamps: NDArray[np.int64],
    stamp: int,
    gradient: NDArray[np.float64],
    spread: NDArray[np.float64],
) -> Kind:
    """Write what a click teaches, and return the reader's kind. rare: see `co_clicks.rarities`.

    The click is a choice among everything on offer: a softmax of the scores. gradient:
    (NUM_STEPS, F) of the log-probability of the click by the weights; see `features`. spread:
    (F,), the variance of the features in the choice. Both 0 where the article was not on offer.
    """
    kind = kind_of(reader, moment, readers)
    gradient[:] = 0.0
    spread[:] = 0.0
    candidates = np.empty(MAX_CANDIDATES + 1 + SAMPLED, dtype=np.int64)
    sums = np.empty((NUM_SUMS, len(rare)), dtype=np.float32)
    worth = np.empty(NUM_READER, dtype=np.float32)
    weigh_reader(weights, scale, kind, worth)
    alone = np.empty(len(rare), dtype=np.float32)
    of_article = moment.scores[kind.length * NUM_GAPS + kind.gap]
    score_alone(of_article, moment.open, co.item, alone)
    num = shortlist(
        reader,
        kind,
        moment,
        items,
        co,
        rare,
        articles,
        readers,
        alone,
        worth,
        sums,
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
    if at < 0:
        if stamps[clicked] == stamp:  # clicked before
            return kind
        at = num
        candidates[num] = clicked
        stamps[clicked] = stamp
        num += 1
    # The shortlist is what the weights prefer already: compared with it alone, they would never
    # learn what made it. A sample stands for the rest, each for as many as were left out.
    size = len(moment.offered)
    first_sampled = num
    num_clicks = readers.starts[reader + 1] - readers.starts[reader]
    drawn = np.uint64(clicked * 2654435761 + num_clicks)
    sample = np.empty(SAMPLED, dtype=np.int64)
    for at_sample in range(SAMPLED):
        drawn = drawn * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
        sample[at_sample] = moment.offered[int((drawn >> np.uint64(33)) % np.uint64(size))]
    num = offer(
        sample,
        SAMPLED,
        moment.open,
        articles.languages,
        readers.languages[reader],
        stamps,
        stamp,
        candidates,
        num,
    )
    listed = candidates[:num]
    table = np.empty((num, NUM_READER), dtype=np.float32)
    score = np.empty(num, dtype=np.float32)
    fill_features(reader, listed, moment, items, sums, articles, readers, table)
    score_candidates(listed, table, kind, moment, worth, score)
    share = np.ones(num)
    # Drawn from all on offer; what the reader may not see, or is listed, was dropped.
    share[first_sampled:] = max(1.0, size / SAMPLED)
    missed = misses(score, share, at)
    row = np.empty(NUM_FEATURES, dtype=np.float32)
    for c in range(num):
        if abs(missed[c]) < _NOTHING:
            continue
        write_row(moment.features, moment.place[listed[c]], table[c], scale, row)
        age, quiet = divmod(moment.kind[listed[c]], NUM_QUIETS)
        for feature in range(NUM_FEATURES):
            gradient[0, feature] += missed[c] * row[feature]
        for feature in range(NUM_ARTICLE):
            step = missed[c] * row[feature]
            gradient[1 + age, feature] += step
            gradient[1 + NUM_AGES + quiet, feature] += step
    spread[:NUM_ARTICLE] = moment.variances
    measure_spread(table, share, spread[NUM_ARTICLE:])
    return kind


_NOTHING = 1e-6


@compiled
def misses(score: NDArray[np.float32], share: NDArray[np.float64], at: int) -> NDArray[np.float64]:
    """Return by how much the probability of each choice, (C,), falls short of what was chosen.

    share: (C,) how many articles each stands for. at: the chosen one.
    """
    missed = np.empty(len(score))
    top = score.max()
    total = 0.0
    for c in range(len(score)):
        missed[c] = -np.exp(score[c] - top) * share[c]
        total -= missed[c]
    for c in range(len(score)):
        missed[c] /= total
    missed[at] += 1.0
    return missed


@compiled
def measure_spread(
    table: NDArray[np.float32], share: NDArray[np.float64], out: NDArray[np.float64]
) -> None:
    """Write the variance of each column of (C, R), weighted by share, (C,)."""
    total = share.sum()
    for feature in range(table.shape[1]):
        mean = 0.0
        square = 0.0
        for c in range(len(table)):
            mean += share[c] * table[c, feature]
            square += share[c] * table[c, feature] * table[c, feature]
        mean /= total
        out[feature] = max(square / total - mean * mean, 0.0)


@compiled
def learn_shown(
    moment: Moment,
    items: Items,
    co: CoClicks,
    articles: Articles,
    readers: Readers,
    scale: NDArray[np.float64],
    weight: NDArray[np.float64],
    shown: NDArray[np.int64],
    clicked: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Return the gradient, (F,), of the clicks of an impression by its weights, (F,).

    shown: (C,) items. clicked: (C,). Each click is a choice among itself and what was not clicked.
    """
    features = np.empty((len(shown), NUM_FEATURES), dtype=np.float32)
    describe(shown, moment, items, co, articles, readers, scale, features)
    scores = np.zeros(len(shown), dtype=np.float32)
    for c in range(len(shown)):
        for feature in range(NUM_FEATURES):
            scores[c] += weight[feature] * features[c, feature]
    total = np.zeros(NUM_FEATURES)
    for c in range(len(shown)):
        if not clicked[c]:
            continue
        share = np.where(clicked, 0.0, 1.0)
        share[c] = 1.0
        missed = misses(scores, share, c)
        for other in range(len(shown)):
            for feature in range(NUM_FEATURES):
                total[feature] += missed[other] * features[other, feature]
    return total
