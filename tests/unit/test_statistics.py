"""Shared statistics: the same log makes the same, whoever counts it and from which checkpoint."""

import numpy as np
import pytest

from schemas.history import article_ref, pack_entry
from tests.unit.clicked import NONE, Known, apply, entry, lesson, number, stream
from worker.recommend.checkpoint import CheckpointError
from worker.recommend.click_log import pack_clicks, pack_impression
from worker.recommend.features import NUM_FEATURES
from worker.recommend.learn import HALVED_AFTER, count_click
from worker.recommend.options import Blend
from worker.recommend.state import Terms, empty_co_clicks, empty_items
from worker.recommend.statistics import Statistics

HOUR_MS = 3_600_000


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


def test_a_frozen_blend_counts_and_learns_nothing() -> None:
    frozen = Statistics(8, Blend(frozen=True))
    before = frozen.blend.weights.copy()
    apply(frozen, stream(10))
    assert np.array_equal(before, frozen.blend.weights) and frozen.num_counted == 10
    assert not np.array_equal(before, apply(Statistics(8), stream(10)).blend.weights)


def test_weights_stay_within_their_bound() -> None:
    statistics = apply(Statistics(8, Blend(learning_rate=1.0, bound=0.3)), stream(200))
    assert np.abs(statistics.blend.weights[:-1]).max() == 0.3


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


def test_an_impression_of_nothing_counts_nothing() -> None:
    statistics = Statistics(8)
    nothing = np.empty(0, dtype=np.int64)
    statistics.apply(pack_impression(nothing, np.empty(0, dtype=np.bool_), None), Known())
    assert not statistics.items.shown.any()
