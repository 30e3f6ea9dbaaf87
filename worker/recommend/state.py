"""The statistics that all readers share, as arrays; every worker holds the same.

Bounded: at most `MAX_ITEMS` articles are counted, and of these the `slots` most active have
co-click counts with each other.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.recommend.features import (
    NEWCOMER_HALF_LIVES_H,
    NUM_HALF_LIVES,
)
from worker.terms import NUM_TERMS

NO_SLOT = -1
NOT_YET_MS = np.iinfo(np.int64).max
"""Stands for an article that has neither been published nor clicked."""
NEVER_MS = -1


class Items(NamedTuple):
    """Counts by article, capacity N.

    Attributes:
        first_ms: (N,) int64, since when the article is known, `NOT_YET_MS` before.
        last_ms: (N,) int64, its last click, `NEVER_MS` before the first.
        counts: (N, half-lives) float32, clicks faded to `last_ms`.
        newcomers: (N, half-lives) float32, of these the first clicks of readers, faded likewise.
        shown: (N, 2) float32, how often shown in impressions, and clicked there.
        appeal: (N, 2) float32, what is learned of the article itself beside its terms; see `Terms`.
        slot: (N,) int32, place in the co-click tables.
    """

    first_ms: NDArray[np.int64]
    last_ms: NDArray[np.int64]
    counts: NDArray[np.float32]
    newcomers: NDArray[np.float32]
    shown: NDArray[np.float32]
    appeal: NDArray[np.float32]
    slot: NDArray[np.int32]


class Articles(NamedTuple):
    """What the catalogue knows of N articles.

    Attributes:
        tags: (N, T) int32, -1 beyond the last.
        languages: (N,) int16, -1 where not known.
        terms: (N, MAX_TERMS) int32; see `worker.terms`.
        vectors: (N, D) float32 of length 1 or 0; see `worker.terms.text_vectors`.
    """

    tags: NDArray[np.int32]
    languages: NDArray[np.int16]
    terms: NDArray[np.int32]
    vectors: NDArray[np.float32]


class Terms(NamedTuple):
    """What is known of each term of articles, V terms.

    Attributes:
        clicks: (V, 2) float32, clicks faded by `TERM_HALF_LIVES_MS` to `last_ms`.
        last_ms: (V,) int64, `NEVER_MS` before the first.
        all_clicks: (2,) float64, those of all articles, faded likewise.
        all_last_ms: (1,) int64.
        heat: (V,) float32, log of how much more of the clicks it has now than usually.
        appeal: (V, 2) float32, how much likelier an article with it is clicked when shown, in
            logits, and the sum of squared gradients.
    """

    clicks: NDArray[np.float32]
    last_ms: NDArray[np.int64]
    all_clicks: NDArray[np.float64]
    all_last_ms: NDArray[np.int64]
    heat: NDArray[np.float32]
    appeal: NDArray[np.float32]


class CoClicks(NamedTuple):
    """Who clicked one also clicked the other, S slots.

    Attributes:
        item: (S,) int32, the article in each slot, -1 where free.
        clicks: (S,) float32, counted clicks of the slot's article.
        last_ms: (S,) int64, its last click, `NEVER_MS` where the slot is free.
        next: (S, S) float32; [a, b] counts clicks on b after a, less the further apart.
        together: (S, S) float32, symmetric: both within one reader's window. Where it is 0,
            so is `next`.
        model: (S, S) float32; [a, b] what a click on a says for b; see `item_model`. The rows of
            slots that it says nothing of are 0; their columns may be what is left of others.
        is_modelled: (S,) bool, whether the model says something of a slot.
    """

    item: NDArray[np.int32]
    clicks: NDArray[np.float32]
    last_ms: NDArray[np.int64]
    next: NDArray[np.float32]
    together: NDArray[np.float32]
    model: NDArray[np.float32]
    is_modelled: NDArray[np.bool_]


class BlendState(NamedTuple):
    """What the blend has learned.

    Attributes:
        weights: (rows, features) float64; see `features.NUM_WEIGHT_ROWS`.
        squares: the same shape, sums of squared gradients.
        scale: (2, F) float64: sums over choices of the variance of each feature among the articles
            of the choice, and the number of choices in which it varied.
    """

    weights: NDArray[np.float64]
    squares: NDArray[np.float64]
    scale: NDArray[np.float64]


def empty_items(capacity: int) -> Items:
    """Return counts of nothing."""
    return Items(
        np.full(capacity, NOT_YET_MS, dtype=np.int64),
        np.full(capacity, NEVER_MS, dtype=np.int64),
        np.zeros((capacity, NUM_HALF_LIVES), dtype=np.float32),
        np.zeros((capacity, len(NEWCOMER_HALF_LIVES_H)), dtype=np.float32),
        np.zeros((capacity, 2), dtype=np.float32),
        np.zeros((capacity, 2), dtype=np.float32),
        np.full(capacity, NO_SLOT, dtype=np.int32),
    )


def empty_terms() -> Terms:
    """Return what is known before the first click."""
    return Terms(
        np.zeros((NUM_TERMS, 2), dtype=np.float32),
        np.full(NUM_TERMS, NEVER_MS, dtype=np.int64),
        np.zeros(2),
        np.full(1, NEVER_MS, dtype=np.int64),
        np.zeros(NUM_TERMS, dtype=np.float32),
        np.zeros((NUM_TERMS, 2), dtype=np.float32),
    )


def empty_co_clicks(slots: int) -> CoClicks:
    """Return tables of nothing."""
    return CoClicks(
        np.full(slots, -1, dtype=np.int32),
        np.zeros(slots, dtype=np.float32),
        np.full(slots, NEVER_MS, dtype=np.int64),
        np.zeros((slots, slots), dtype=np.float32),
        np.zeros((slots, slots), dtype=np.float32),
        np.zeros((slots, slots), dtype=np.float32),
        np.zeros(slots, dtype=np.bool_),
    )
