"""What a reader's clicks say of all other articles, by what is clicked together: compiled.

Row by row of the co-click tables, for every slot at once: rows lie side by side in memory, and so
the best need not be guessed from the neighbours of single clicks.
"""

import numpy as np
from numpy.typing import NDArray

from worker.compiled import compiled
from worker.recommend.features import ITEM_MODEL, NUM_ARTICLE
from worker.recommend.features import NEXT as NEXT_FEATURE
from worker.recommend.features import RECENTLY as RECENTLY_FEATURE
from worker.recommend.features import TOGETHER as TOGETHER_FEATURE
from worker.recommend.learn import FADING, FOLLOWED, WINDOW
from worker.recommend.readers import Readers
from worker.recommend.state import CoClicks, Items

MODEL, TOGETHER, RECENTLY, NEXT = range(4)
NUM_SUMS = 4
_COLUMNS = (
    ITEM_MODEL - NUM_ARTICLE,
    TOGETHER_FEATURE - NUM_ARTICLE,
    RECENTLY_FEATURE - NUM_ARTICLE,
    NEXT_FEATURE - NUM_ARTICLE,
)
"""Of the readers' features, in the order of the sums."""

RECENT_FADING = 0.9


@compiled
def num_used(co: CoClicks) -> int:
    """Return how many slots to look at, U: slots are taken from the first on."""
    used = len(co.item)
    while used and co.item[used - 1] < 0:
        used -= 1
    return used


@compiled
def rarities(co: CoClicks) -> NDArray[np.float32]:
    """Return by what the cosines of each used slot are divided, as factors (U,)."""
    factors = np.empty(num_used(co), dtype=np.float32)
    for slot in range(len(factors)):
        factors[slot] = 1.0 / np.sqrt(co.clicks[slot] + 3.0)
    return factors


@compiled
def add_co_clicks(
    reader: int,
    items: Items,
    co: CoClicks,
    rare: NDArray[np.float32],
    readers: Readers,
    sums: NDArray[np.float32],
) -> None:
    """Write the sums, (NUM_SUMS, U), over a reader's clicks for each used slot.

    By the item model; of cosines of what was clicked together, of all clicks and of the latest;
    of cosines of what was clicked next. The cosines as square roots, because counts of co-clicks
    have long tails. rare: see `rarities`.
    """
    sums[:] = 0.0
    model, together, recently, after = sums[MODEL], sums[TOGETHER], sums[RECENTLY], sums[NEXT]
    start, end = readers.starts[reader], readers.starts[reader + 1]
    following = np.float32(1.0)
    recent = np.float32(1.0)
    num_slots = len(rare)
    any_counted = False
    for click in range(start, min(end, start + WINDOW)):
        slot = items.slot[readers.items[click]]
        if slot >= 0:
            any_counted = True
            near = rare[slot]
            model_row, together_row = co.model[slot], co.together[slot]
            for other in range(num_slots):
                model[other] += model_row[other]
                together[other] += together_row[other] * near
            if click - start < FOLLOWED:
                next_row = co.next[slot]
                faded, follows = near * recent, near * following
                for other in range(num_slots):
                    recently[other] += together_row[other] * faded
                    after[other] += next_row[other] * follows
        following *= np.float32(FADING)
        recent *= np.float32(RECENT_FADING)
    if any_counted:
        for slot in range(num_slots):
            if not co.is_modelled[slot]:
                model[slot] = 0.0
        for table in (together, recently, after):
            for slot in range(num_slots):
                table[slot] = np.sqrt(table[slot] * rare[slot])


@compiled
def score_alone(
    of_article: NDArray[np.float32],
    is_open: NDArray[np.bool_],
    item_of: NDArray[np.int32],
    out: NDArray[np.float32],
) -> None:
    """Write what each used slot's article scores by itself, (U,); -inf of what is not open.

    of_article, is_open: (N,). item_of: (S,).
    """
    for slot in range(len(out)):
        item = item_of[slot]
        out[slot] = of_article[item] if item >= 0 and is_open[item] else -np.inf


@compiled
def score_slots(
    reader: int,
    alone: NDArray[np.float32],
    items: Items,
    readers: Readers,
    sums: NDArray[np.float32],
    worth: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Write what each used slot's article scores by itself and by co-clicks, (U,).

    alone: (U,), see `score_alone`. worth: (R,) of the readers' raw features. What has been clicked
    scores -inf.
    """
    model, together, recently, after = sums[MODEL], sums[TOGETHER], sums[RECENTLY], sums[NEXT]
    by_model, by_together = worth[_COLUMNS[MODEL]], worth[_COLUMNS[TOGETHER]]
    by_recently, by_next = worth[_COLUMNS[RECENTLY]], worth[_COLUMNS[NEXT]]
    for slot in range(len(out)):
        score = alone[slot] + by_model * model[slot] + by_together * together[slot]
        out[slot] = score + by_recently * recently[slot] + by_next * after[slot]
    for click in range(readers.starts[reader], readers.starts[reader + 1]):
        slot = items.slot[readers.items[click]]
        if slot >= 0:
            out[slot] = -np.inf


_SAMPLED = 128
_FIRST_BOUND, _SECOND_BOUND = 8, 16
"""Of the sample, so many are above a bound that twice and four times as many slots as are wanted
may be expected to reach."""


@compiled
def best_slots(score: NDArray[np.float32], out: NDArray[np.int64]) -> int:
    """Write the slots with the highest scores, in no order; return how many there are."""
    bounds = np.full(_SECOND_BOUND, -np.inf, dtype=np.float32)
    for slot in range(0, len(score), max(len(score) // _SAMPLED, 1)):
        place = _SECOND_BOUND
        while place and bounds[place - 1] < score[slot]:
            place -= 1
            if place + 1 < _SECOND_BOUND:
                bounds[place + 1] = bounds[place]
        if place < _SECOND_BOUND:
            bounds[place] = score[slot]
    reaching = np.empty(len(score) + 1, dtype=np.int64)
    num = 0
    for bound in (bounds[_FIRST_BOUND - 1], bounds[_SECOND_BOUND - 1], _LOWEST):
        if bound == -np.inf:
            continue
        num = 0
        for slot in range(len(score)):
            reaching[num] = slot
            num += score[slot] >= bound
        if num >= len(out):
            break
    return _best_of_few(score, reaching[:num], out)


_LOWEST = np.finfo(np.float32).min


@compiled
def _best_of_few(
    score: NDArray[np.float32], slots: NDArray[np.int64], out: NDArray[np.int64]
) -> int:
    """Write those of some slots with the highest scores, by a heap with the lowest at its root."""
    held = 0
    wanted = len(out)
    for place in range(len(slots)):
        slot = slots[place]
        value = score[slot]
        if held < wanted:
            at = held
            held += 1
            while at and score[out[(at - 1) // 2]] > value:
                out[at] = out[(at - 1) // 2]
                at = (at - 1) // 2
        elif value <= score[out[0]]:
            continue
        else:
            at = 0
            while True:
                below = 2 * at + 1
                if below >= wanted:
                    break
                if below + 1 < wanted and score[out[below + 1]] < score[out[below]]:
                    below += 1
                if score[out[below]] >= value:
                    break
                out[at] = out[below]
                at = below
        out[at] = slot
    return held
