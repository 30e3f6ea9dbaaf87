"""What a batch teaches: a few lessons, each as of its own click, however many come at once."""

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from schemas.history import article_ref, merge, num_clicks, pack_entry
from tests.tiny_streams import HOUR_MS, stream_of
from worker.batch_lessons import (
    CLICKS_PER_LESSON,
    LESSONS,
    LESSONS_PER_S,
    MOST_LESSONS,
    Allowance,
    BatchLessons,
    before_click,
)
from worker.eye import Eye
from worker.intake import PackedImpression
from worker.recommend.features import NUM_FEATURES, NUM_STEPS
from worker.recommend.log_reader import Taught, Told, unpack
from worker.recommend.options import Options
from worker.recommend.pages import Lesson
from worker.recommend.readers import Kind
from worker.recommend.recommender import Recommender
from worker.recommend.statistics import Statistics
from worker.stream_evaluation.model import WorkerRecommender

NOBODY = np.zeros(0, dtype=np.float32)


def recommender(num_articles: int = 40) -> WorkerRecommender:
    return WorkerRecommender(stream_of([], num_articles=num_articles), None, Options())


def popular(num_clicks: int, num_articles: int = 40) -> list[tuple[int, int, int]]:
    """Return clicks of as many readers, most of them on the first articles, a minute apart."""
    random = np.random.default_rng(3)
    picked = np.minimum(random.geometric(0.3, num_clicks) - 1, num_articles - 1)
    return [(user, article, user * 60_000) for user, article in enumerate(picked.tolist())]


def test_a_batch_of_one_click_teaches_what_the_click_teaches() -> None:
    one, other = recommender(), recommender()
    for click in popular(50):
        one.learn(*click)
        other.learn_batch([click])
    assert np.array_equal(one.blend.weights, other.blend.weights)
    assert np.array_equal(one.blend.scale, other.blend.scale)


def test_everything_in_a_batch_counts_and_its_first_clicks_teach(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[Told] = []
    worker = recommender()
    for click in popular(30):
        worker.learn(*click)
    apply = Statistics.apply
    monkeypatch.setattr(
        Statistics,
        "apply",
        lambda self, entry, facts: (told.append(unpack(entry)), apply(self, entry, facts)),
    )
    later = [(user + 100, article, time + HOUR_MS) for user, article, time in popular(100)]
    worker.learn_batch(later[::-1])
    assert sum(len(each.clicks.counted) for each in told) == 100
    taught = [int(each.clicks.times_ms[0]) for each in told if each.lessons]
    assert sorted(taught) == [time for _, _, time in later[: len(taught)]]
    assert 0 < len(taught) <= LESSONS


def test_a_replay_in_one_batch_moves_no_weight_further_than_the_same_clicks_one_by_one() -> None:
    one, other = recommender(), recommender()
    begun = one.blend.weights.copy()
    clicks = popular(2000)
    for click in clicks:
        one.learn(*click)
    for start in range(0, len(clicks), 500):
        other.learn_batch(clicks[start : start + 500])
    moved, moved_at_once = (np.abs(each.blend.weights - begun).max() for each in (one, other))
    assert 0 < moved_at_once < moved


class Noting(Recommender):
    """Notes when lessons are seen from, and what is known of the readers then."""

    def __init__(self, recommender: Recommender) -> None:
        super().__init__(recommender.catalogue, recommender.statistics, recommender.options)
        self.moments_ms: list[int] = []
        self.clicked: list[list[int]] = []

    def lessons(self, before, tastes, now_ms, clicked) -> list[Lesson]:  # type: ignore[no-untyped-def]
        self.moments_ms.append(now_ms)
        self.clicked.append(clicked.tolist())
        return super().lessons(before, tastes, now_ms, clicked)

    def impression_lessons(self, before, tastes, now_ms, shown):  # type: ignore[no-untyped-def]
        self.moments_ms.append(now_ms)
        return super().impression_lessons(before, tastes, now_ms, shown)


def noting() -> tuple[BatchLessons, Noting]:
    worker = recommender(4)
    noted = Noting(worker._recommender)
    return BatchLessons(noted.catalogue, noted, Eye(noted.catalogue, None, 1.0)), noted


def history(*clicks: tuple[int, str]) -> bytes:
    return merge(None, [pack_entry(time, None, article_ref(name)) for time, name in clicks], 8)


def test_a_lesson_is_seen_from_the_time_of_its_click_and_the_readers_first_counts() -> None:
    lessons, noted = noting()
    histories = [history((9 * HOUR_MS, "a3"), (HOUR_MS, "a2")), history((HOUR_MS + 1, "a1"))]
    lessons.clicks(histories, [[0, 1], [0]], [NOBODY, NOBODY], 10 * HOUR_MS)
    assert noted.moments_ms == [HOUR_MS + 1]
    assert noted.clicked == [[2, 1]]


def test_a_click_dated_ahead_is_seen_from_now() -> None:
    lessons, noted = noting()
    lessons.clicks([history((9 * HOUR_MS, "a1"))], [[0]], [NOBODY], HOUR_MS)
    assert noted.moments_ms == [HOUR_MS]


def test_what_counts_of_nobody_teaches_nothing() -> None:
    lessons, noted = noting()
    assert lessons.clicks([history((1, "a1"))], [[]], [NOBODY], HOUR_MS) == [b""]
    assert lessons.clicks([], [], [], HOUR_MS) == []
    assert noted.moments_ms == []


def test_the_first_impressions_of_a_batch_teach_and_all_count() -> None:
    lessons, noted = noting()
    entries = [pack_entry(5, None, article_ref(name)) for name in ("a0", "a1", "gone")]
    many = [PackedImpression(at, entries, [True, False, False]) for at in range(LESSONS + 5)]
    packed = lessons.impressions([b""] * len(many), many[::-1], HOUR_MS)
    told = unpack(b"".join(packed)).impressions
    assert [each.clicked.tolist() for each in told] == [[True, False]] * len(many)
    taught = [each.gradient is not None for each in told]
    assert taught == [False] * 5 + [True] * LESSONS
    assert noted.moments_ms == [LESSONS - 1]


def test_batches_that_follow_fast_teach_no_more_than_a_large_one() -> None:
    now_s = [50.0]
    allowance = Allowance(LESSONS_PER_S, lambda: now_s[0])
    lessons, noted = noting()
    lessons._for_clicks = allowance
    taught = []
    for at in range(40):  # 4 clicks in each of 40 batches, 5 ms apart
        packed = [history((HOUR_MS, "a1")) for _ in range(4)]
        told = unpack(b"".join(lessons.clicks(packed, [[0]] * 4, [NOBODY] * 4, HOUR_MS + at)))
        assert len(told.clicks.counted) == 4
        taught.append(sum(map(len, noted.clicked)))
        noted.clicked.clear()
        now_s[0] += 0.005
    assert sum(taught[:4]) == LESSONS
    assert sum(taught) == pytest.approx(LESSONS + 0.2 * LESSONS_PER_S, abs=4)
    assert set(taught) == {0, 4}  # all of a batch, or none


def test_a_backlog_teaches_whole_groups_as_far_as_time_allows() -> None:
    now_s = [50.0]
    allowance = Allowance(LESSONS_PER_S, lambda: now_s[0])
    taken = []
    for _ in range(6):  # large batches, 0.4 s apart
        taken.append(allowance.take(MOST_LESSONS))
        now_s[0] += 0.4
    assert set(taken) == {16, 32, 48}
    assert sum(taken) == pytest.approx(LESSONS + 2.0 * LESSONS_PER_S, abs=LESSONS)
    now_s[0] += 60.0
    assert allowance.take(MOST_LESSONS + 9) == MOST_LESSONS  # and no more, however long it waited


@pytest.mark.parametrize("freshness_ms", [0, 60_000])
def test_a_large_batch_teaches_in_groups_each_by_the_weights_that_those_before_leave(
    freshness_ms: int,
) -> None:
    worker = recommender()
    for click in popular(200):
        worker.learn(*click)
    statistics = worker._statistics
    kept_looks = replace(worker._recommender.options, freshness_ms=freshness_ms)
    noted = Noting(Recommender(worker._catalogue, statistics, kept_looks))
    lessons = BatchLessons(noted.catalogue, noted, Eye(noted.catalogue, None, 1.0), None)
    now_ms = 9 * HOUR_MS
    packed = [
        history((now_ms - 40 + at, f"a{at % 7}"), (now_ms - HOUR_MS, f"a{9 + at % 5}"))
        for at in range(40)
    ]
    noted.lay_out()
    kept = noted._looks.at(now_ms, np.array([0]))
    before = statistics.blend.weights.copy(), statistics.blend.squares.copy(), statistics.scale

    def teach(first: int, last: int) -> list[Taught]:
        part = packed[first:last]
        nobody = [NOBODY] * len(part)
        return unpack(
            b"".join(lessons.clicks(part, [[0]] * len(part), nobody, now_ms, None, 8000))
        ).lessons

    taught = teach(0, 40)
    assert list(map(len, noted.clicked)) == [LESSONS, LESSONS, 8]
    # What counts is what comes by the log: until then all is as it was.
    assert np.array_equal(statistics.blend.weights, before[0])
    assert np.array_equal(statistics.blend.squares, before[1])
    assert np.array_equal(statistics.scale, before[2])
    assert noted._looks._last is kept and not noted._looks._is_by_old_weights
    by_old_weights = teach(LESSONS, 2 * LESSONS)
    for each in taught[:LESSONS]:
        statistics.learn(*each.learned, each.length, each.gap)
    noted._looks.weigh_anew()
    by_new_weights = teach(LESSONS, 2 * LESSONS)

    def gradients(those: list[Taught]) -> np.ndarray:
        return np.array([each.learned.gradient[0] for each in those])

    second = gradients(taught[LESSONS : 2 * LESSONS])
    moved = np.abs(gradients(by_old_weights) - gradients(by_new_weights)).max()
    assert moved > 0.01
    # The log's 16 bits make the difference that is left.
    assert np.abs(second - gradients(by_new_weights)).max() < 0.05 * moved


def test_a_rehearsal_that_fails_leaves_nothing_behind() -> None:
    worker = recommender()
    for click in popular(50):
        worker.learn(*click)
    statistics = worker._statistics
    made = Recommender(worker._catalogue, statistics, Options())
    made.lay_out()
    kept = made._looks.at(HOUR_MS, np.array([0]))
    weights, scale = statistics.blend.weights.copy(), statistics.scale.copy()
    steps = np.ones((NUM_STEPS, NUM_FEATURES))
    with pytest.raises(ZeroDivisionError), made.rehearsal() as learn:
        learn([Lesson(steps, steps[0], Kind(0, 0))])
        assert not np.array_equal(statistics.blend.weights, weights)
        assert not np.array_equal(made._looks.at(HOUR_MS, np.array([0])).weights, kept.weights)
        raise ZeroDivisionError
    assert np.array_equal(statistics.blend.weights, weights)
    assert np.array_equal(statistics.scale, scale)
    assert made._looks._last is kept
    assert np.array_equal(kept.weights, weights)


def test_lessons_minutes_apart_learn_from_each_other_group_by_group() -> None:
    worker = recommender()
    for click in popular(200):
        worker.learn(*click)
    noted = Noting(worker._recommender)
    lessons = BatchLessons(noted.catalogue, noted, Eye(noted.catalogue, None, 1.0), None)
    packed = [history((4 * HOUR_MS + 2 * at * 60_000, f"a{at % 4}")) for at in range(40)]
    made_by_then: list[int] = []
    learn = noted.statistics.learn

    def learning(*lesson: Any) -> None:
        made_by_then.append(len(noted.clicked))
        learn(*lesson)

    noted.statistics.learn = learning  # type: ignore[method-assign]
    told = lessons.clicks(
        packed, [[0]] * 40, [NOBODY] * 40, 9 * HOUR_MS, num_clicks=40 * CLICKS_PER_LESSON
    )
    assert noted.clicked == [[at % 4] for at in range(40)]
    taught = [bool(unpack(each).lessons) for each in told]
    # What 16 taught is learned before the next is made.
    first, second = sum(taught[:LESSONS]), sum(taught[LESSONS : 2 * LESSONS])
    assert first and second
    assert made_by_then == [LESSONS] * first + [2 * LESSONS] * second


def test_before_a_click_there_is_what_came_earlier() -> None:
    packed = history((3, "c"), (2, "b"), (1, "a"))
    assert [num_clicks(before_click(packed, at)) for at in range(3)] == [2, 1, 0]


def test_a_later_part_of_a_batch_counts_and_teaches_nothing() -> None:
    lessons, noted = noting()
    packed = [history((HOUR_MS + at, "a1")) for at in range(LESSONS)]
    told = lessons.clicks(packed, [[0]] * LESSONS, [NOBODY] * LESSONS, 2 * HOUR_MS, num_clicks=0)
    assert len(unpack(b"".join(told)).clicks.counted) == LESSONS
    assert not noted.clicked
    lessons.clicks(packed, [[0]] * LESSONS, [NOBODY] * LESSONS, 2 * HOUR_MS)
    assert len(noted.clicked[0]) == LESSONS  # the allowance is as it was
