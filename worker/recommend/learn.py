"""Count clicks: compiled updates of the shared statistics, in the order of the click log.

A click counts at its own time: one that comes late adds what it would be worth by now, so the
counts do not depend on the order, up to rounding.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.compiled import compiled
from worker.recommend.features import FIRST_CLICKS, HALF_LIVES_MS, NEWCOMER_HALF_LIVES_MS
from worker.recommend.state import NEVER_MS, NO_SLOT, CoClicks, Items

WINDOW = 256
"""Earlier clicks of the reader that a click is counted together with."""

HALVED_AFTER = 32.0
"""Clicks between two that halve what their coming together counts; twice as many leave a third."""

FOLLOWED = 10
"""Of these, those that the click is said to follow."""

FADING = 0.8
"""How much less a click follows the one before the one before it."""


@compiled
def count_click(
    items: Items, co: CoClicks, item: int, time_ms: int, before: NDArray[np.int64]
) -> None:
    """Count a reader's first click on an article.

    before: (≤ WINDOW,) int64, the articles the reader clicked before it, newest first.
    """
    last_ms = items.last_ms[item]
    if last_ms == NEVER_MS:
        last_ms = time_ms
    _count(items.counts[item], HALF_LIVES_MS, time_ms, last_ms, 1.0)
    newcomer = 1.0 if len(before) < FIRST_CLICKS else 0.0
    _count(items.newcomers[item], NEWCOMER_HALF_LIVES_MS, time_ms, last_ms, newcomer)
    items.last_ms[item] = max(last_ms, time_ms)
    items.first_ms[item] = min(items.first_ms[item], time_ms)
    slot = items.slot[item]
    if slot == NO_SLOT:
        slot = _take_slot(items, co, item)
    co.clicks[slot] += 1.0
    co.last_ms[slot] = items.last_ms[item]
    fading = 1.0
    for position in range(len(before)):
        other = items.slot[before[position]]
        if other in (NO_SLOT, slot):
            fading *= FADING
            continue
        share = np.float32(HALVED_AFTER / (HALVED_AFTER + position))
        co.together[slot, other] += share
        co.together[other, slot] += share
        if position < FOLLOWED:
            co.next[other, slot] += fading
        fading *= FADING


@compiled
def count_clicks(
    items: Items,
    co: CoClicks,
    numbers: NDArray[np.int64],
    times_ms: NDArray[np.int64],
    bounds: NDArray[np.int64],
    counted: NDArray[np.int64],
) -> None:
    """Count clicks of readers, each together with the clicks before it.

    numbers, times_ms: (E,) clicks, each reader's newest first. bounds: (C,) of each click that is
    counted, where those of its reader end. counted: (C,) their places, in the order in which they
    count.
    """
    before = np.empty(WINDOW, dtype=np.int64)
    seen_by = np.full(len(items.slot), -1, dtype=np.int32)
    for click in range(len(counted)):
        at = counted[click]
        item = numbers[at]
        seen_by[item] = click
        num = 0
        # Each article once, where it was clicked last.
        for other in range(at + 1, min(bounds[click], at + 1 + WINDOW)):
            if seen_by[numbers[other]] != click:
                seen_by[numbers[other]] = click
                before[num] = numbers[other]
                num += 1
        count_click(items, co, item, times_ms[at], before[:num])


@compiled
def _count(
    counts: NDArray[np.float32],
    half_lives_ms: NDArray[np.float64],
    time_ms: int,
    last_ms: int,
    weight: float,
) -> None:
    for h in range(len(counts)):
        fade = 2.0 ** (-abs(time_ms - last_ms) / half_lives_ms[h])
        if time_ms >= last_ms:
            counts[h] = counts[h] * fade + weight
        else:
            counts[h] += weight * fade


@compiled
def _take_slot(items: Items, co: CoClicks, item: int) -> int:
    """Give the article a free slot, or that of the article which was clicked longest ago."""
    # A free slot has the least time of all. In two passes, each as fast as memory is read.
    least = co.last_ms[0]
    for slot in range(len(co.last_ms)):
        least = min(least, co.last_ms[slot])
    taken = 0
    while co.last_ms[taken] != least:
        taken += 1
    if co.item[taken] >= 0:
        items.slot[co.item[taken]] = NO_SLOT
        free_slot(co, taken)
    co.item[taken] = item
    items.slot[item] = taken
    return taken


@compiled
def free_slot(co: CoClicks, freed: int) -> None:
    """Forget everything about a slot."""
    co.item[freed] = -1
    co.clicks[freed] = 0.0
    co.last_ms[freed] = NEVER_MS
    # A column is a row of memory for each of its numbers, nearly all of them 0 already: the
    # slot's own row says where not. What came next came together, too.
    together = co.together[freed]
    for other in range(len(together)):
        if together[other] != 0.0:
            together[other] = 0.0
            co.together[other, freed] = 0.0
            co.next[freed, other] = 0.0
            co.next[other, freed] = 0.0
    if co.is_modelled[freed]:
        co.is_modelled[freed] = False
        co.model[freed] = 0.0


@compiled
def count_shown(items: Items, shown: NDArray[np.int64], clicked: NDArray[np.bool_]) -> None:
    """Count an impression: the articles shown, (C,), and which of them were clicked."""
    for at in range(len(shown)):
        items.shown[shown[at], 0] += 1.0
        if clicked[at]:
            items.shown[shown[at], 1] += 1.0


@compiled
def apply_gradient(
    weights: NDArray[np.float64],
    squares: NDArray[np.float64],
    gradient: NDArray[Any],
    row: int,
    rate: float,
    bound: float,
) -> None:
    """Move one row of weights up its gradient (AdaGrad, Duchi et al. 2011), within ±bound."""
    for feature in range(weights.shape[1]):
        step = gradient[feature]
        squares[row, feature] += step * step
        moved = weights[row, feature] + rate * step / np.sqrt(squares[row, feature])
        weights[row, feature] = min(max(moved, -bound), bound)
