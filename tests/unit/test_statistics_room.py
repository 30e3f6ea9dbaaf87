"""Shared statistics have room for so many articles, and the item model for those with a slot."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.clicked import NONE, apply, entry, number, stream
from worker.recommend.co_clicks import MODEL, NUM_SUMS, add_co_clicks, rarities
from worker.recommend.features import NUM_FEATURES, NUM_STEPS
from worker.recommend.item_model import (
    INVERTED_WHOLE,
    MOST_ERROR,
    PENALTY,
    by_halves,
    fit_item_model,
    inverse,
    to_fit,
)
from worker.recommend.learn import FADING, HALVED_AFTER, count_click
from worker.recommend.readers import Readers
from worker.recommend.state import NEVER_MS, NO_SLOT, empty_co_clicks, empty_items
from worker.recommend.statistics import Statistics


def test_more_articles_than_slots_leave_the_latest_clicked() -> None:
    items, co = empty_items(16), empty_co_clicks(4)
    for item in range(10):
        before = np.arange(item - 1, max(item - 4, -1), -1, dtype=np.int64)
        count_click(items, co, item, item, before)
    assert np.flatnonzero(items.slot[:10] != NO_SLOT).tolist() == [6, 7, 8, 9]
    assert sorted(co.item.tolist()) == [6, 7, 8, 9]
    assert not co.together[[0, 1, 2, 3], [0, 1, 2, 3]].any()


def test_a_slot_that_is_given_away_leaves_nothing_behind() -> None:
    random = np.random.default_rng(5)
    items, co, slots = empty_items(64), empty_co_clicks(8), 8
    item = np.full(slots, -1)
    last_ms = np.full(64, -1)
    together = np.zeros((slots, slots), dtype=np.float32)
    following = np.zeros((slots, slots), dtype=np.float32)
    for time in random.permutation(600).tolist():  # late clicks, too
        clicked, *before = random.choice(64, random.integers(1, 5), replace=False).tolist()
        count_click(items, co, clicked, time, np.array(before, dtype=np.int64))
        last_ms[clicked] = max(last_ms[clicked], time)
        if clicked not in item:
            slot = int(np.argmin(np.where(item < 0, -1, last_ms[item])))
            together[slot] = together[:, slot] = following[slot] = following[:, slot] = 0.0
            item[slot] = clicked
        slot = int(np.flatnonzero(item == clicked)[0])
        for apart, each in enumerate(before):
            for other in np.flatnonzero(item == each).tolist():
                together[slot, other] += np.float32(HALVED_AFTER / (HALVED_AFTER + apart))
                together[other, slot] = together[slot, other]
                following[other, slot] += np.float32(FADING**apart)
        assert np.array_equal(co.item, item)
        assert np.array_equal(co.together, together) and np.allclose(co.next, following)


def test_a_checkpoint_where_slots_are_given_away_makes_the_same() -> None:
    log = stream(300)
    whole, resumed = apply(Statistics(8), log), Statistics(8)
    resumed.load(apply(Statistics(8), log[:170]).dump())
    apply(resumed, log[170:])
    for field in ("item", "clicks", "last_ms", "together", "next"):
        assert np.array_equal(getattr(whole.co, field), getattr(resumed.co, field))


def test_the_item_model_says_nothing_of_a_slot_that_was_given_away() -> None:
    names = [f"a{at}" for at in range(4)]
    statistics = apply(Statistics(4), [entry(100 + at, *names[::-1]) for at in range(9)])
    items = statistics.number(np.array([number(name) for name in names], dtype=np.int64))
    for at in (0, 1, 2, 3, 0, 1, 2, 3):
        count_click(statistics.items, statistics.co, items[at], 200 + at, items[at + 1 :])
    statistics.fit()
    co = statistics.co
    assert co.is_modelled.all() and co.model[:, statistics.items.slot[items[0]]].any()
    # Of four slots: the new article gets that of the one clicked longest ago.
    lost = statistics.items.slot[items[0]]
    apply(statistics, [entry(1000, "b")])
    (new,) = statistics.number(np.array([number("b")], dtype=np.int64))
    assert statistics.items.slot[new] == lost and not co.is_modelled[lost]
    readers = readers_of(items[1:])
    sums = np.ones((NUM_SUMS, 4), dtype=np.float32)
    add_co_clicks(0, statistics.items, co, rarities(co), readers, sums)
    assert sums[MODEL, lost] == 0 and np.delete(sums[MODEL], lost).any()


def readers_of(items: NDArray[np.int64]) -> Readers:
    """One reader who has clicked articles, (C,)."""
    none = np.zeros((1, 1), dtype=np.float32)
    starts = np.array([0, len(items)])
    return Readers(
        starts,
        items,
        np.zeros(len(items), dtype=np.int64),
        none,
        none,
        np.ones((1, 1), dtype=np.bool_),
        none,
        np.empty((1, 0), dtype=np.int64),
        np.zeros(2, dtype=np.int64),
        NONE,
    )


def test_articles_beyond_the_limit_are_forgotten_but_for_those_to_keep() -> None:
    statistics = Statistics(8, max_items=20)
    apply(statistics, [entry(1000 + i, f"b{i}") for i in range(24)])
    assert statistics.is_full
    apply(statistics, [entry(1024, "b24")])
    kept = np.array([number("b0"), number("not counted yet")], dtype=np.int64)
    statistics.forget_oldest(kept)
    # 15 of the clicked ones, and the two to keep, of which b0 has lost its clicks.
    assert len(statistics) == 17 and not statistics.is_full
    newest = statistics.number(np.array([number("b24"), number("b0")], dtype=np.int64))
    assert len(statistics) == 17
    assert statistics.items.last_ms[newest].tolist() == [1024, NEVER_MS]
    held = statistics.co.item[statistics.co.item >= 0]
    assert (statistics.items.slot[held] >= 0).all()


def test_the_item_model_is_the_closed_form() -> None:
    random = np.random.default_rng(1)
    items, co = empty_items(16), empty_co_clicks(16)
    gram = np.zeros((8, 8))
    for reader in range(200):
        read = random.choice(8, random.integers(2, 5), replace=False).astype(np.int64)
        for at, one in enumerate(read):
            gram[one, one] += 1
            for apart, other in enumerate(read[:at][::-1]):
                gram[[one, other], [other, one]] += HALVED_AFTER / (HALVED_AFTER + apart)
        for at, item in enumerate(read):
            count_click(items, co, int(item), reader * 10 + at, read[:at][::-1].copy())
    fitted = fit_item_model(to_fit(co))
    inverse = np.linalg.inv(gram + PENALTY * np.diag(gram).mean() * np.eye(8))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    slots = items.slot[:8]
    assert np.allclose(fitted[np.ix_(slots, slots)], expected, atol=1e-5)


def positive(size: int, penalty: float = PENALTY) -> NDArray[np.float32]:
    """A symmetric positive definite matrix, as co-click counts with their penalty are."""
    random = np.random.default_rng(size)
    counts = random.poisson(0.3, (3 * size, size)).astype(np.float32)
    gram = counts.T @ counts
    return gram + np.float32(penalty) * np.diag(gram).mean() * np.eye(size, dtype=np.float32)


@pytest.mark.parametrize("size", [1, 2, INVERTED_WHOLE, INVERTED_WHOLE + 1, 517])
def test_the_inverse_by_halves_is_the_inverse(size: int) -> None:
    matrix = positive(size)
    expected = np.linalg.inv(matrix.astype(np.float64))
    assert np.allclose(by_halves(matrix), expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("corner", [0.0, 1e-9])
def test_a_matrix_that_needs_pivots_is_inverted_all_the_same(corner: float) -> None:
    size = 2 * INVERTED_WHOLE
    matrix = positive(size)
    matrix[: size // 2, : size // 2] = corner * np.eye(size // 2)
    matrix[: size // 2, size // 2 :] = np.eye(size // 2)
    matrix[size // 2 :, : size // 2] = np.eye(size // 2)
    assert_inverse(matrix)


def test_a_matrix_that_loses_digits_by_halves_is_inverted_all_the_same() -> None:
    matrix = positive(800, penalty=0.01)
    tried = np.linspace(0.5, 1.0, 800, dtype=np.float32)
    assert np.abs(by_halves(matrix) @ (matrix @ tried) - tried).max() > MOST_ERROR
    assert_inverse(matrix)


def assert_inverse(matrix: NDArray[np.float32]) -> None:
    expected = np.linalg.inv(matrix.astype(np.float64))
    assert np.allclose(inverse(matrix), expected, atol=1e-5 * np.abs(expected).max())


def test_a_singular_matrix_has_no_inverse() -> None:
    with pytest.raises(np.linalg.LinAlgError):
        inverse(np.zeros((300, 300), dtype=np.float32))


def test_what_is_forgotten_leaves_nothing_to_its_slot() -> None:
    statistics = Statistics(32, max_items=8)
    apply(statistics, [entry(1000 + i, f"b{i}", f"b{i - 1}") for i in range(12)])
    statistics.forget_oldest(np.empty(0, dtype=np.int64))
    free = np.flatnonzero(statistics.co.item < 0)
    assert len(free) and not statistics.co.together[free].any()
    assert not statistics.co.together[:, free].any() and not statistics.co.next[:, free].any()


def test_what_could_not_vary_says_nothing_of_what_it_deviates_by() -> None:
    statistics = Statistics(8)
    usual = statistics.scale.copy()
    spread = np.full(NUM_FEATURES, 0.25)
    spread[3] = 0.0
    for _ in range(2000):
        statistics.learn(np.zeros((NUM_STEPS, NUM_FEATURES)), spread, 0, 0)
    assert statistics.scale[3] == usual[3]
    assert np.allclose(np.delete(statistics.scale, 3), 2.0, rtol=0.05)
