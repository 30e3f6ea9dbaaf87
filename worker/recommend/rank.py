"""Rank articles for readers: candidates → features → scores, compiled."""

import numpy as np
from numpy.typing import NDArray

from worker.compiled import compiled
from worker.recommend.candidates import MAX_CANDIDATES, find_candidates
from worker.recommend.co_clicks import NUM_SUMS, add_co_clicks, rarities, score_alone, score_slots
from worker.recommend.features import NUM_GAPS, NUM_READER
from worker.recommend.learn import WINDOW
from worker.recommend.moment import Moment
from worker.recommend.reader_features import fill_features
from worker.recommend.readers import Kind, Readers, kind_of
from worker.recommend.state import NO_SLOT, Articles, CoClicks, Items
from worker.recommend.weighing import (
    reader_weights,
    score_candidates,
    weigh_reader,
    weights_of,
    write_row,
)


@compiled
def _best_of(score: NDArray[np.float32], top: NDArray[np.int64]) -> int:
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
def shortlist(
    reader: int,
    kind: Kind,
    moment: Moment,
    items: Items,
    co: CoClicks,
    rare: NDArray[np.float32],
    articles: Articles,
    readers: Readers,
    alone: NDArray[np.float32],
    worth: NDArray[np.float32],
    sums: NDArray[np.float32],
    stamps: NDArray[np.int64],
    stamp: int,
    out: NDArray[np.int64],
) -> int:
    """Write a reader's candidates to `out` and the co-click sums to `sums`; return how many.

    rare, alone: see `co_clicks.rarities` and `score_alone`, for this kind. worth: (R,) of the
    reader's raw features. stamps, stamp: see `candidates.find_candidates`.
    """
    add_co_clicks(reader, items, co, rare, readers, sums)
    slot_scores = np.empty(len(rare), dtype=np.float32)
    score_slots(reader, alone, items, readers, sums, worth, slot_scores)
    return find_candidates(
        reader, kind, moment, co, articles, readers, slot_scores, stamps, stamp, out
    )


@compiled
def rank_readers(
    moment: Moment,
    items: Items,
    co: CoClicks,
    articles: Articles,
    readers: Readers,
    weights: NDArray[np.float64],
    scale: NDArray[np.float64],
    best: NDArray[np.int64],
    scores: NDArray[np.float32],
    own: NDArray[np.float32],
) -> None:
    """Write each reader's best articles, best first.

    weights, scale: of the blend. best: (B, M) int64, -1 where there is no more. scores: (B, M)
    float32. own: (B, M, R) float32, raw features of the reader with each.
    """
    num_readers, wanted = best.shape
    stamps = np.zeros(len(moment.open), dtype=np.int64)
    candidates = np.empty(MAX_CANDIDATES, dtype=np.int64)
    table = np.empty((MAX_CANDIDATES, NUM_READER), dtype=np.float32)
    score = np.empty(MAX_CANDIDATES, dtype=np.float32)
    worth = np.empty(NUM_READER, dtype=np.float32)
    rare = rarities(co)
    sums = np.empty((NUM_SUMS, len(rare)), dtype=np.float32)
    top = np.empty(wanted, dtype=np.int64)
    alone = np.empty((len(moment.scores), len(rare)), dtype=np.float32)
    is_scored = np.zeros(len(moment.scores), dtype=np.bool_)
    for reader in range(num_readers):
        kind = kind_of(reader, moment, readers)
        number = kind.length * NUM_GAPS + kind.gap
        if not is_scored[number]:
            score_alone(moment.scores[number], moment.open, co.item, alone[number])
            is_scored[number] = True
        weigh_reader(weights, scale, kind, worth)
        num = shortlist(
            reader,
            kind,
            moment,
            items,
            co,
            rare,
            articles,
            readers,
            alone[number],
            worth,
            sums,
            stamps,
            reader + 1,
            candidates,
        )
        fill_features(reader, candidates[:num], moment, items, sums, articles, readers, table)
        score_candidates(candidates[:num], table, kind, moment, worth, score)
        held = _best_of(score[:num], top)
        for place in range(held):
            c = top[place]
            best[reader, place] = candidates[c]
            scores[reader, place] = score[c]
            for feature in range(NUM_READER):
                own[reader, place, feature] = table[c, feature]


@compiled
def explain(
    page: NDArray[np.int64],
    own: NDArray[np.float32],
    moment: Moment,
    readers: Readers,
    weights: NDArray[np.float64],
    scale: NDArray[np.float64],
    features: NDArray[np.float32],
    used: NDArray[np.float64],
    common: NDArray[np.float64],
) -> None:
    """Write what the articles of pages, (B, k), were ranked by; -1 stands for none.

    own: (B, k, R), raw features of the readers. features: (B, k, F). used: (B, k, F), the weights;
    features times weights add up to the score. common: (B, F), those for any article.
    """
    of_article, places = moment.features, moment.place
    for reader in range(len(page)):
        kind = kind_of(reader, moment, readers)
        reader_weights(weights, kind, common[reader])
        for place in range(page.shape[1]):
            item = page[reader, place]
            if item >= 0:
                at = places[item]
                write_row(of_article, at, own[reader, place], scale, features[reader, place])
                weights_of(weights, kind, moment.kind[item], used[reader, place])


@compiled
def describe(
    given: NDArray[np.int64],
    moment: Moment,
    items: Items,
    co: CoClicks,
    articles: Articles,
    readers: Readers,
    scale: NDArray[np.float64],
    out: NDArray[np.float32],
) -> None:
    """Write all features of given articles, (C, F), for the first reader."""
    table = np.empty((len(given), NUM_READER), dtype=np.float32)
    rare = rarities(co)
    sums = np.empty((NUM_SUMS, len(rare)), dtype=np.float32)
    add_co_clicks(0, items, co, rare, readers, sums)
    fill_features(0, given, moment, items, sums, articles, readers, table)
    for c in range(len(given)):
        write_row(moment.features, moment.place[given[c]], table[c], scale, out[c])


@compiled
def strongest_links(
    items: Items,
    co: CoClicks,
    readers: Readers,
    page: NDArray[np.int64],
    out: NDArray[np.int64],
) -> None:
    """Write which of the reader's clicks says most for each article of a page, (B, k), or -1."""
    slots = np.empty(page.shape[1], dtype=np.int64)
    most = np.empty(page.shape[1], dtype=np.float64)
    for reader in range(len(page)):
        for place in range(page.shape[1]):
            item = page[reader, place]
            slots[place] = items.slot[item] if item >= 0 else NO_SLOT
            most[place] = 0.0
        start, end = readers.starts[reader], readers.starts[reader + 1]
        for click in range(start, min(end, start + WINDOW)):
            other = items.slot[readers.items[click]]
            if other < 0:
                continue
            # Once a click: a root and a row of memory cost more than what is done with them.
            root = np.sqrt(co.clicks[other] + 3.0)
            for place in range(len(slots)):
                if slots[place] < 0:
                    continue
                strength = co.together[other, slots[place]] / root
                if strength > most[place]:
                    most[place] = strength
                    out[reader, place] = readers.items[click]
