"""Put a page together from a reader's best articles: alike ones further apart, caps, compiled.

Maximal marginal relevance (Carbonell and Goldstein 1998): an article loses `diversity` times its
likeness to the most alike article above it. Likeness is that of the tags (Jaccard); of articles
without tags, the cosine of their vectors.
"""

import numpy as np
from numpy.typing import NDArray

from worker.compiled import compiled
from worker.recommend.reader_features import dot_rows
from worker.recommend.state import Articles

NEAR_DUPLICATE = 0.98
"""Cosine of two vectors beyond which articles with equal tags count as one."""

LOST = 100.0


@compiled
def likeness(
    one: int,
    other: int,
    num_one: int,
    num_other: int,
    tags: NDArray[np.int32],
    vectors: NDArray[np.float32],
) -> float:
    """Return how alike two articles with so many tags are, between 0 and 1."""
    if not num_one or not num_other:
        return max(0.0, dot_rows(vectors, one, vectors, other))
    shared = 0
    for place in range(num_one):
        tag = tags[one, place]
        for at in range(num_other):
            shared += tags[other, at] == tag
    return shared / (num_one + num_other - shared) if shared else 0.0


@compiled
def select(
    best: NDArray[np.int64],
    scores: NDArray[np.float32],
    source: NDArray[np.int64],
    articles: Articles,
    diversity: float,
    max_per_tag: int,
    max_per_source: int,
    chosen: NDArray[np.int64],
) -> None:
    """Write the places, among the M best, of each reader's k chosen articles, in their order.

    best, scores: (B, M), best first, -1 where there is no more. source: (B, M) int64, the source
    that speaks most for it. max_per_…: 0 for no limit; where only the limits leave places empty,
    they are filled all the same. chosen: (B, k) int64, -1 where there is no more.
    """
    num_readers, num_best = best.shape
    # Not handed over with the rest of the record: that costs more than the comparison.
    tags, vectors = articles.tags, articles.vectors
    capped = max_per_tag > 0 or max_per_source > 0
    loss = np.empty(num_best)
    taken = np.empty(num_best, dtype=np.bool_)
    num_tags = np.zeros(num_best, dtype=np.int64)
    # A bit for each tag, shared with others: what has no bit in common has no tag in common.
    masks = np.zeros(num_best, dtype=np.uint64)
    for reader in range(num_readers):
        loss[:] = 0.0
        for at in range(num_best):
            taken[at] = best[reader, at] < 0
            masks[at] = num_tags[at] = 0
            while not taken[at] and num_tags[at] < tags.shape[1]:
                tag = tags[best[reader, at], num_tags[at]]
                if tag < 0:
                    break
                masks[at] |= np.uint64(1) << np.uint64(tag & 63)
                num_tags[at] += 1
        for place in range(chosen.shape[1]):
            top = -1
            top_value = -np.inf
            for relaxed in range(2):
                for at in range(num_best):
                    if taken[at]:
                        continue
                    value = scores[reader, at] - diversity * loss[at]
                    if value <= top_value:
                        continue
                    if (
                        capped
                        and relaxed == 0
                        and _over(
                            best[reader],
                            source[reader],
                            chosen[reader, :place],
                            at,
                            tags,
                            max_per_tag,
                            max_per_source,
                        )
                    ):
                        continue
                    top = at
                    top_value = value
                if top >= 0:
                    break
            chosen[reader, place] = top
            if top < 0:
                continue
            taken[top] = True
            for at in range(num_best):
                if taken[at]:
                    continue
                if masks[at] and masks[top] and not masks[at] & masks[top]:
                    continue
                one, other = best[reader, at], best[reader, top]
                num_one, num_other = num_tags[at], num_tags[top]
                alike = likeness(one, other, num_one, num_other, tags, vectors)
                if (alike == 1.0 or not num_one or not num_other) and (
                    dot_rows(vectors, one, vectors, other) > NEAR_DUPLICATE
                ):
                    alike = LOST
                loss[at] = max(loss[at], alike)


@compiled
def _over(
    best: NDArray[np.int64],
    source: NDArray[np.int64],
    chosen: NDArray[np.int64],
    at: int,
    tags: NDArray[np.int32],
    max_per_tag: int,
    max_per_source: int,
) -> bool:
    """Say whether one of a reader's best, (M,), is one too many beside the chosen places."""
    if max_per_source:
        same = 0
        for held in chosen:
            if held >= 0 and source[held] == source[at]:
                same += 1
        if same >= max_per_source:
            return True
    if max_per_tag == 0:
        return False
    for column in range(tags.shape[1]):
        tag = tags[best[at], column]
        if tag < 0:
            break
        same = 0
        for held in chosen:
            if held < 0:
                continue
            for other in range(tags.shape[1]):
                if tags[best[held], other] == tag:
                    same += 1
        if same >= max_per_tag:
            return True
    return False
