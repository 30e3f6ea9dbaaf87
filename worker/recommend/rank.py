"""Rank articles for readers: candidates → features → scores, compiled."""

import numpy as np
from numpy.typing import NDArray

from worker.compiled import compiled
from worker.recommend.candidates import (
    MAX_CANDIDATES,
    Articles,
    Readers,
    find_candidates,
    kind_of,
    weights_of,
)
from worker.recommend.features import NUM_FEATURES
from worker.recommend.learn import WINDOW
from worker.recommend.moment import Moment
from worker.recommend.reader_features import fill_features, standardise
from worker.recommend.state import CoClicks, Items


@compiled
def score_rows(
    table: NDArray[np.float32], weight: NDArray[np.float64], out: NDArray[np.float64]
) -> None:
    """Write the weighted sums of C rows, (C, F), to `out`, (≥ C,)."""
    for c in range(len(table)):
        value = 0.0
        for feature in range(NUM_FEATURES):
            value += weight[feature] * table[c, feature]
        out[c] = value


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
        kind = kind_of(reader, moment, readers)
        weight = weights_of(weights, kind)
        used[reader] = weight
        num = find_candidates(
            reader,
            kind,
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
        score_rows(table[:num], weight, score)
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
    candidates = np.empty(MAX_CANDIDATES + len(given), dtype=np.int64)
    stamps = np.zeros(len(moment.open), dtype=np.int64)
    num = find_candidates(
        0,
        kind_of(0, moment, readers),
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
    features[:] = table[num:]
    score_rows(features, weight, scores)


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
