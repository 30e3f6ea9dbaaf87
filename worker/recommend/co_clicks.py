"""What a reader's clicks say of all other articles, by what is clicked together: compiled.

Row by row of the co-click tables, for every slot at once: rows lie side by side in memory, and so
the best need not be guessed from the neighbours of single clicks.
"""

import numpy as np
from numpy.typing import NDArray

from worker.compiled import compiled
from worker.recommend.candidates import Readers
from worker.recommend.learn import FADING, FOLLOWED, WINDOW
from worker.recommend.state import CoClicks, Items

MODEL, TOGETHER, RECENTLY, NEXT = range(4)
NUM_SUMS = 4
RECENT_FADING = 0.9


@compiled
def add_co_clicks(
    reader: int, items: Items, co: CoClicks, readers: Readers, sums: NDArray[np.float32]
) -> None:
    """Write the sums, (NUM_SUMS, S), over a reader's clicks for each slot.

    By the item model; of cosines of what was clicked together, of all clicks and of the latest;
    of cosines of what was clicked next. The cosines as square roots, because counts of co-clicks
    have long tails.
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
            near = np.float32(1.0 / np.sqrt(co.clicks[slot] + 3.0))
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
            rare = np.float32(1.0) / np.sqrt(co.clicks[slot] + np.float32(3.0))
            together[slot] = np.sqrt(together[slot] * rare)
            recently[slot] = np.sqrt(recently[slot] * rare)
            after[slot] = np.sqrt(after[slot] * rare)
