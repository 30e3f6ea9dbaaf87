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
from worker.recommend.moment import Moment
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
def rarities(co: CoClicks) -> NDArray[np.float32]:
    """Return by what the cosines of each slot are divided, as factors (S,)."""
    factors = np.empty(len(co.clicks), dtype=np.float32)
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
    """Write the sums, (NUM_SUMS, S), over a reader's clicks for each slot.

    By the item model; of cosines of what was clicked together, of all clicks and of the latest;
    of cosines of what was clicked next. The cosines as square roots, because counts of co-clicks
    have long tails. rare: see `rarities`.
    """
    sums[:] = 0.0
    model, together, recently, after = sums[MODEL], sums[TOGETHER], sums[RECENTLY], sums[NEXT]
    start, end = readers.starts[reader], readers.starts[reader + 1]
    following = np.float32(1.0)
    recent = np.float32(1.0)
    num_slots = len(co.item)
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
def score_slots(
    reader: int,
    of_article: NDArray[np.float32],
    moment: Moment,
    items: Items,
    co: CoClicks,
    readers: Readers,
    sums: NDArray[np.float32],
    worth: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Write what each slot's article scores by itself and by co-clicks, (S,).

    of_article: (N,) scores of the articles alone. worth: (R,) of the readers' raw features. What
    is not open or has been clicked scores -inf.
    """
    num_slots = len(co.item)
    for slot in range(num_slots):
        item = co.item[slot]
        out[slot] = of_article[item] if item >= 0 and moment.open[item] else -np.inf
    for table in range(NUM_SUMS):
        weight, row = worth[_COLUMNS[table]], sums[table]
        for slot in range(num_slots):
            out[slot] += weight * row[slot]
    for click in range(readers.starts[reader], readers.starts[reader + 1]):
        slot = items.slot[readers.items[click]]
        if slot >= 0:
            out[slot] = -np.inf


@compiled
def best_slots(score: NDArray[np.float32], out: NDArray[np.int64]) -> int:
    """Write the slots with the highest scores, in no order; return how many there are.

    By a heap with the lowest of them at its root.
    """
    held = 0
    wanted = len(out)
    for slot in range(len(score)):
        value = score[slot]
        if value == -np.inf or (held == wanted and value <= score[out[0]]):
            continue
        if held < wanted:
            at = held
            held += 1
            while at and score[out[(at - 1) // 2]] > value:
                out[at] = out[(at - 1) // 2]
                at = (at - 1) // 2
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
