"""Exploration: now and then the last place of a page goes to an article little is known of.

The bandit rule is an upper confidence bound (Auer et al. 2002): of the newest articles, the one
whose click-through could still be the highest.
"""

import numpy as np
from numpy.typing import NDArray

from worker.recommend.moment import Moment
from worker.recommend.readers import Readers
from worker.recommend.state import Articles, Items

NEWEST = 32
"""Articles that are explored."""


def explore(
    page: NDArray[np.int64],
    scores: NDArray[np.float32],
    features: NDArray[np.float32],
    moment: Moment,
    items: Items,
    articles: Articles,
    readers: Readers,
    seeds: NDArray[np.int64],
    share: float,
) -> NDArray[np.bool_]:
    """Replace the last article of a share of the pages, in place; return which, (B, k) bool.

    page: (B, k) items. seeds: (B,) int64, evenly spread: the same seed draws the same.
    """
    explored = np.zeros(page.shape, dtype=np.bool_)
    drawn = np.flatnonzero((seeds % 10_000) < share * 10_000)
    if not len(drawn) or not len(moment.newest):
        return explored
    newest = moment.newest[:NEWEST]
    shown = items.shown[newest, 0]
    clicked = items.shown[newest, 1]
    optimism = np.sqrt(2.0 * np.log(shown.sum() + 2.0) / (shown + 1.0))
    order = newest[np.argsort(-((clicked + 1.0) / (shown + 2.0) + optimism), kind="stable")]
    for reader in drawn:
        own = readers.items[readers.starts[reader] : readers.starts[reader + 1]]
        barred = readers.barred[readers.barred_starts[reader] : readers.barred_starts[reader + 1]]
        for item in order:
            reads = readers.languages[reader, articles.languages[item]]
            if reads and item not in page[reader] and item not in own and item not in barred:
                last = page.shape[1] - 1
                page[reader, last] = item
                scores[reader, last] = 0.0
                features[reader, last] = 0.0
                explored[reader, last] = True
                break
    return explored
