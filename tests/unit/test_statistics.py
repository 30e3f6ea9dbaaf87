"""Shared statistics: the same log makes the same, whoever counts it and from which checkpoint."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.history import article_ref, pack_entry
from worker.recommend.checkpoint import CheckpointError
from worker.recommend.click_log import Learned, pack_clicks, pack_impression
from worker.recommend.co_clicks import MODEL, NUM_SUMS, add_co_clicks, rarities
from worker.recommend.features import NUM_ARTICLE, NUM_FEATURES, NUM_STEPS
from worker.recommend.item_model import PENALTY, fit_item_model, to_fit
from worker.recommend.learn import FADING, HALVED_AFTER, count_click
from worker.recommend.options import Blend
from worker.recommend.readers import Readers
from worker.recommend.state import NEVER_MS, NO_SLOT, Terms, empty_co_clicks, empty_items
from worker.recommend.statistics import Statistics
from worker.terms import MAX_TERMS, article_terms, unpack_terms

NONE: NDArray[np.int64] = np.empty(0, dtype=np.int64)
HOUR_MS = 3_600_000


def number(name: str) -> int:
    return int.from_bytes(article_ref(name), "big")


def entry(time: int, *names: str, gradient: bool = True) -> bytes:
    """Pack a click on the first article after clicks on the others."""
    body = b"".join(pack_entry(time - at, None, article_ref(each)) for at, each in enumerate(names))
    member = np.array([0.8, 0.2], dtype=np.float32)
    return pack_clicks(body, [0], member, lesson() if gradient else None, 1, 0)


def lesson() -> Learned:
    steps = np.linspace(-1, 1, NUM_STEPS * NUM_FEATURES).reshape(NUM_STEPS, NUM_FEATURES)
    steps[1:, NUM_ARTICLE:] = 0.0
    return Learned(steps, np.ones(NUM_FEATURES))


class Known:
    """Thirty articles, of which every fourth is about the same."""

    tags: ClassVar = {number(f"a{i}"): (f"t{i % 4}",) for i in range(30)}

    def tags_of(self, refs: NDArray[np.int64]) -> list[Sequence[str]]:
        return [self.tags.get(ref, ()) for ref in refs.tolist()]

    def terms_of(self, refs: NDArray[np.int64]) -> NDArray[np.int32]:
        terms = [unpack_terms(article_terms(None, None, tags)) for tags in self.tags_of(refs)]
        return np.array(terms).reshape(-1, MAX_TERMS)


def stream(num: int, seed: int = 0) -> list[bytes]:
    random = np.random.default_rng(seed)
    names = [f"a{i}" for i in range(30)]
    return [
        entry(10_000 * (at + 1), *random.choice(names, random.integers(1, 6), replace=False))
        for at in range(num)
    ]


def showing(at: int) -> bytes:
    """Pack an impression of three articles, one of them clicked."""
    refs = np.array([number(f"a{(at + step) % 30}") for step in range(3)], dtype=np.int64)
    step = np.linspace(1, at + 2, NUM_FEATURES)
    return pack_impression(refs, np.arange(3) == at % 3, step if at % 4 else None)


def with_impressions(log: list[bytes]) -> list[bytes]:
    return [part for at, each in enumerate(log) for part in (each, showing(at))]


def equal(one: Statistics, other: Statistics) -> bool:
    """Compare by reference: numbers may differ, counts may not."""
    names = [number(f"a{i}") for i in range(30)]
    refs = np.array(names, dtype=np.int64)
    a, b = one.number(refs), other.number(refs)
    same = [
        np.array_equal(getattr(one.items, field)[a], getattr(other.items, field)[b])
        for field in ("first_ms", "last_ms", "counts", "shown", "appeal")
    ]
    together = [
        statistics.co.together[np.ix_(statistics.items.slot[at], statistics.items.slot[at])]
        for statistics, at in ((one, a), (other, b))
    ]
    same += [np.array_equal(*together), np.array_equal(one.blend.weights, other.blend.weights)]
    tags = one.tag_counts.keys() | other.tag_counts.keys()
    for field in Terms._fields:
        same.append(np.array_equal(getattr(one.terms, field), getattr(other.terms, field)))
    same.append(np.array_equal(one.scale, other.scale))
    same += [np.array_equal(one.tag_counts[tag], other.tag_counts[tag]) for tag in tags]
    return all(same)


def apply(statistics: Statistics, log: list[bytes]) -> Statistics:
    for each in log:
        statistics.apply(each, Known())
    return statistics


def test_workers_that_know_articles_in_another_order_agree() -> None:
    log = with_impressions(stream(200))
    one, other = Statistics(64), Statistics(64)
    other.number(np.array([number(f"a{i}") for i in reversed(range(30))], dtype=np.int64))
    assert equal(apply(one, log), apply(other, log))
    assert one.num_counted == 200
    assert not equal(one, apply(Statistics(64), log[:-1]))


def test_a_checkpoint_and_the_rest_of_the_log_make_the_same() -> None:
    log = with_impressions(stream(300))
    whole = apply(Statistics(64), log)
    resumed = Statistics(64)
    resumed.load(apply(Statistics(64), log[:170]).dump())
    assert equal(whole, apply(resumed, log[170:]))


def test_impressions_on_the_log_are_counted_and_teach_their_own_weights_only() -> None:
    clicks = stream(40)
    without, statistics = apply(Statistics(64), clicks), Statistics(64)
    apply(statistics, with_impressions(clicks))
    items = statistics.number(np.array([number(f"a{i}") for i in range(30)], dtype=np.int64))
    assert statistics.items.shown[items].sum(axis=0).tolist() == [120.0, 40.0]
    assert np.array_equal(statistics.blend.weights[:-1], without.blend.weights[:-1])
    assert not np.array_equal(statistics.blend.weights[-1], without.blend.weights[-1])
    assert statistics.num_counted == without.num_counted == 40
    wrong = pack_impression(items[:1], np.array([True]), np.ones(NUM_FEATURES) * np.nan)
    before = statistics.items.shown.copy()
    with pytest.raises(ValueError, match="does not fit"):
        apply(statistics, [wrong])
    assert np.array_equal(statistics.items.shown, before)


@pytest.mark.parametrize("broken", [b"", b"rubbish", b"PK\3\4" + bytes(40)])
def test_a_broken_checkpoint_changes_nothing(broken: bytes) -> None:
    statistics = apply(Statistics(64), stream(20))
    with pytest.raises(CheckpointError):
        statistics.load(broken)
    assert equal(statistics, apply(Statistics(64), stream(20)))


def test_counts_fade_and_do_not_depend_on_the_order() -> None:
    for times in ([0, HOUR_MS, 3 * HOUR_MS], [3 * HOUR_MS, 0, HOUR_MS]):
        items, co = empty_items(4), empty_co_clicks(4)
        for time in times:
            count_click(items, co, 1, time, NONE)
        # half-life of an hour: 1 + 1/4 + 1/8
        assert items.counts[1, 1] == pytest.approx(1.375, rel=1e-5)
        assert items.last_ms[1] == 3 * HOUR_MS
        assert items.first_ms[1] == 0


def test_clicks_of_one_reader_are_counted_together_and_in_order() -> None:
    items, co = empty_items(4), empty_co_clicks(4)
    for item, before in ((0, []), (1, [0]), (2, [1, 0])):
        count_click(items, co, item, item, np.array(before, dtype=np.int64))
    slot = items.slot
    assert co.together[slot[1], slot[2]] == co.together[slot[2], slot[1]] == 1
    assert co.together[slot[0], slot[2]] == pytest.approx(HALVED_AFTER / (HALVED_AFTER + 1))
    assert co.next[slot[1], slot[2]] == 1
    assert co.next[slot[0], slot[2]] == pytest.approx(0.8)
    assert co.next[slot[2], slot[0]] == 0


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


def test_a_frozen_blend_counts_and_learns_nothing() -> None:
    frozen = Statistics(8, Blend(frozen=True))
    before = frozen.blend.weights.copy()
    apply(frozen, stream(10))
    assert np.array_equal(before, frozen.blend.weights) and frozen.num_counted == 10
    assert not np.array_equal(before, apply(Statistics(8), stream(10)).blend.weights)


def test_weights_stay_within_their_bound() -> None:
    statistics = apply(Statistics(8, Blend(learning_rate=1.0, bound=0.3)), stream(200))
    assert np.abs(statistics.blend.weights[:-1]).max() == 0.3


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


def test_of_an_entry_with_a_broken_part_nothing_counts() -> None:
    statistics = Statistics(8)
    body = pack_entry(1000, None, article_ref("a1"))
    wrong = lesson()._replace(spread=np.full(NUM_FEATURES, np.inf))
    for broken in (
        pack_clicks(body, [0], np.ones(2, dtype=np.float32), None, 9, 0),
        pack_clicks(body, [0], np.ones(2, dtype=np.float32), wrong, 0, 0),
        pack_impression(np.array([7]), np.array([True]), np.full(NUM_FEATURES, np.nan)),
        entry(1000, "a1")[:-1],
    ):
        with pytest.raises(ValueError):
            statistics.apply(entry(1000, "a1") + broken, Known())
    assert statistics.num_counted == 0 and len(statistics) == 0


def test_clicks_of_one_batch_on_new_articles_count_together() -> None:
    statistics = Statistics(8)
    body = b"".join(pack_entry(9 - at, None, article_ref(name)) for at, name in enumerate("abcb"))
    told = pack_clicks(body, [0, 2, 3], np.ones(2, dtype=np.float32), None, 0, 0)
    statistics.apply(told, Known())
    a, b, c = statistics.number(np.array([number(name) for name in "abc"], dtype=np.int64))
    slot, together = statistics.items.slot, statistics.co.together
    assert together[slot[a], slot[b]] == 1  # b twice before a: once
    assert together[slot[b], slot[c]] == 1
    assert together[slot[a], slot[c]] == pytest.approx(HALVED_AFTER / (HALVED_AFTER + 1))


def test_a_model_with_other_segments_begins_anew() -> None:
    statistics = apply(Statistics(8), stream(5))
    other = pack_clicks(
        pack_entry(10**9, None, article_ref("a1")), [0], np.ones(5, dtype=np.float32), None, 0, 0
    )
    apply(statistics, [other])
    assert {len(counts) for counts in statistics.tag_counts.values()} == {6}
    Statistics(8).load(statistics.dump())


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


def test_an_impression_of_nothing_counts_nothing() -> None:
    statistics = Statistics(8)
    nothing = np.empty(0, dtype=np.int64)
    statistics.apply(pack_impression(nothing, np.empty(0, dtype=np.bool_), None), Known())
    assert not statistics.items.shown.any()
