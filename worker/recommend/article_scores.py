"""From what was measured of articles alone to what a blend makes of it, and their order by that.

In the same blocks as `article_features`, which measures.
"""

import numpy as np
from numpy.typing import NDArray

from worker.compiled import compiled
from worker.recommend.article_features import BLOCK, PLACE_BITS
from worker.recommend.features import AGE, NUM_ARTICLE


@compiled
def settle(
    columns: NDArray[np.float32],
    offered: NDArray[np.int32],
    means: NDArray[np.float64],
    scale: NDArray[np.float64],
    place_of: NDArray[np.int32],
) -> None:
    """Take the means from what was measured, (A, M), and scale it, in place.

    place_of: (N,), filled with the places of those on offer.
    """
    factors = scale[:NUM_ARTICLE].astype(np.float32)
    for start in range(0, len(offered), BLOCK):
        num = min(BLOCK, len(offered) - start)
        for at in range(num):
            place_of[offered[start + at]] = start + at
        for feature in range(NUM_ARTICLE):
            values = columns[feature, start : start + num]
            mean, factor = means[feature], factors[feature]
            if feature == AGE:
                for at in range(num):
                    centred = np.float32(values[at] - mean) * factor
                    values[at] = centred if values[at] != 0.0 else values[at]
            else:
                for at in range(num):
                    values[at] = np.float32(values[at] - mean) * factor


@compiled
def weigh_kinds(
    columns: NDArray[np.float32],
    offered: NDArray[np.int32],
    kind: NDArray[np.int32],
    weights: NDArray[np.float32],
    of_kind: NDArray[np.float32],
) -> None:
    """Write what is added to the score of each article on offer for its kind.

    columns: (A, M), settled. weights: (A, kinds). of_kind: (M,).
    """
    kinds = np.empty(BLOCK, dtype=np.int64)
    for start in range(0, len(offered), BLOCK):
        num = min(BLOCK, len(offered) - start)
        own = of_kind[start : start + num]
        own[:] = 0.0
        for at in range(num):
            kinds[at] = kind[offered[start + at]]
        for feature in range(NUM_ARTICLE):
            values, added = columns[feature, start : start + num], weights[feature]
            for at in range(num):
                own[at] += added[np.uint64(kinds[at])] * values[at]


@compiled
def weigh(
    columns: NDArray[np.float32],
    weights: NDArray[np.float32],
    of_kind: NDArray[np.float32],
    offered: NDArray[np.int32],
    scores: NDArray[np.float32],
    keys: NDArray[np.int64],
) -> None:
    """Write the scores, (N,), of the articles on offer by weights, (A,), and their kinds.

    keys: (M,), in whose order articles are best first, and of equal scores the first first; the
    place of each is in the lowest `PLACE_BITS`.
    """
    score = np.empty(BLOCK, dtype=np.float32)
    bits = score.view(np.int32)
    for start in range(0, len(offered), BLOCK):
        num = min(BLOCK, len(offered) - start)
        score[:] = 0.0
        for feature in range(NUM_ARTICLE):
            values, weight = columns[feature, start : start + num], weights[feature]
            for at in range(num):
                score[at] += weight * values[at]
        added = of_kind[start : start + num]
        for at in range(num):
            score[at] += added[at]
        for at in range(num):
            scores[offered[start + at]] = score[at]
        for at in range(num):
            # The bits of numbers ascend with them; those of negative ones descend.
            rank = np.int64(bits[at]) ^ (np.int64(bits[at] >> 31) & 0x7FFFFFFF)
            keys[start + at] = (-rank << PLACE_BITS) + (start + at)
