"""Pages put together from the best: apart what is alike, within the caps, never short of them."""

import numpy as np
from numpy.typing import NDArray

from worker.recommend.selection import likeness, select
from worker.recommend.state import Articles


def articles(*tags: tuple[int, ...], vectors: list[list[float]] | None = None) -> Articles:
    table = np.full((len(tags), 4), -1, dtype=np.int32)
    for row, each in enumerate(tags):
        table[row, : len(each)] = each
    rows = np.zeros((len(tags), 2)) if vectors is None else np.array(vectors)
    languages = np.full(len(tags), -1, dtype=np.int16)
    return Articles(table, languages, rows.astype(np.float32))


def chosen(
    found: Articles,
    scores: list[float],
    *,
    k: int,
    diversity: float = 0.0,
    max_per_tag: int = 0,
    max_per_source: int = 0,
    source: list[int] | None = None,
) -> list[int]:
    best: NDArray[np.int64] = np.arange(len(scores), dtype=np.int64)[None, :]
    out = np.full((1, k), -1, dtype=np.int64)
    speaks = np.array([source or [0] * len(scores)], dtype=np.int64)
    values = np.array([scores], dtype=np.float32)
    select(best, values, speaks, found, diversity, max_per_tag, max_per_source, out)
    return [int(place) for place in out[0]]


def test_likeness_is_the_share_of_tags_or_the_cosine() -> None:
    found = articles((1, 2), (2, 3), (), (), vectors=[[1, 0], [1, 0], [1, 0], [0.6, 0.8]])
    assert likeness(0, 1, 2, 2, found.tags, found.vectors) == 1 / 3
    assert abs(likeness(2, 3, 0, 0, found.tags, found.vectors) - 0.6) < 1e-6


def test_without_diversity_the_best_stay_in_their_order() -> None:
    found = articles((1,), (1,), (1,), (2,))
    assert chosen(found, [4.0, 3.0, 2.0, 1.0], k=4) == [0, 1, 2, 3]


def test_diversity_brings_another_subject_forward() -> None:
    found = articles((1,), (1,), (2,))
    assert chosen(found, [1.0, 0.9, 0.8], k=3, diversity=0.3) == [0, 2, 1]
    assert chosen(found, [1.0, 0.9, 0.3], k=3, diversity=0.3) == [0, 1, 2]


def test_near_duplicates_go_last() -> None:
    found = articles((1,), (1,), (2,), vectors=[[1, 0], [1, 0], [0, 1]])
    assert chosen(found, [9.0, 8.0, 0.0], k=3, diversity=0.1) == [0, 2, 1]


def test_caps_hold_unless_the_page_would_be_short() -> None:
    found = articles((1,), (1, 3), (1,), (2,), (2,))
    scores = [5.0, 4.0, 3.0, 2.0, 1.0]
    assert chosen(found, scores, k=3, max_per_tag=1) == [0, 3, 1]
    assert chosen(found, scores, k=4, max_per_tag=2) == [0, 1, 3, 4]
    assert chosen(found, scores, k=3, max_per_source=2, source=[0, 0, 0, 1, 1]) == [0, 1, 3]


def test_there_may_be_fewer_than_wanted() -> None:
    assert chosen(articles((1,), (2,)), [2.0, 1.0], k=4) == [0, 1, -1, -1]
