"""What the score of an article is made of, and what is learned from a click and an impression."""

from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest

from schemas.records import Recommendation, ServedFeatures
from tests.unit.catalogues import HOUR_MS, NOW_MS, article, catalogue, history
from tests.unit.recommenders import NOBODY, PLAIN, click, many, recommender, see
from worker import messages
from worker.page_json import PageWriter
from worker.recommend.features import (
    AGE_ROWS,
    FEATURES,
    GAP_ROWS,
    LENGTH_ROWS,
    NUM_AGES,
    NUM_ARTICLE,
    NUM_FEATURES,
    NUM_WEIGHT_ROWS,
    SOURCES,
)
from worker.recommend.options import Options
from worker.recommend.pages import Lesson

NOW = datetime.fromtimestamp(NOW_MS / 1000, UTC)


def test_reasons_add_up_to_the_score() -> None:
    news = many(80)
    made = recommender(news)
    click(made, "a3", NOW_MS - HOUR_MS, num=3)
    reading, tastes = see(news, history(("a1", 1), ("a2", 3)), NOBODY)
    found = made.rank(reading, tastes, NOW_MS, 10)
    assert found.shares.sum(axis=2) == pytest.approx(found.scores, abs=1e-4)
    pages = PageWriter(news, "v1").write(["u1", "u2"], ["r1", "r2"], found, tastes.interests, NOW)
    records = [msgspec.json.decode(page, type=Recommendation) for page in pages]
    items = [item for record in records for item in record.items]
    assert len(items) == 20
    logged = messages.served_features(["r1", "r2"], found, news, NOW_MS)
    for features, record in zip(logged, records, strict=True):
        assert msgspec.json.decode(msgspec.json.encode(features), type=ServedFeatures) == features
        assert list(features.features) == list(FEATURES)
        assert [each.article_id for each in features.items] == [
            each.article_id for each in record.items
        ]
        for served in features.items:
            assert len(served.values) == len(served.weights) == NUM_FEATURES
    for item in items:
        total = sum(reason.weight for reason in item.reasons)
        assert total == pytest.approx(item.score, abs=1e-3)


@pytest.mark.parametrize("source", SOURCES)
def test_a_source_that_is_off_weighs_nothing_and_learns_nothing(source: str) -> None:
    news = many(80)
    options = Options(sources={source: False}, selection=PLAIN.selection)
    made = recommender(news, options)
    click(made, "a3", NOW_MS - HOUR_MS, num=3)
    reader = see(news, history(("a1", 1), ("a2", 3)))
    off = list(SOURCES[source])
    assert not made.rank(*reader, NOW_MS, 10).shares[:, :, off].any()
    (lesson,) = made.lessons(*reader, NOW_MS, np.array([5]))
    assert not lesson.gradient[:, off].any() and lesson.gradient.any()


def test_the_gradient_is_that_of_the_log_probability() -> None:
    news = many(40, seed=4)
    made = recommender(news)
    random = np.random.default_rng(0)
    for at in range(200):
        click(made, f"a{int(random.zipf(1.5)) % 40}", NOW_MS - int(at * HOUR_MS / 4))
    made.statistics.blend.weights[:-1] = random.normal(size=(NUM_WEIGHT_ROWS - 1, NUM_FEATURES)) / 3
    reader = see(news, history(("a1", 1), ("a2", 3)))
    row = 20

    def lesson() -> Lesson:
        # All articles are candidates, so that the choice is among the same ones at any weights.
        (found,) = made.lessons(*reader, NOW_MS, np.array([row]))
        return found

    def log_probability() -> float:
        found = made.rank(*reader, NOW_MS, 38)
        (place,) = np.flatnonzero(found.rows[0] == row)
        scores = found.scores[0].astype(np.float64)
        return float(scores[place] - np.log(np.exp(scores).sum()))

    gradient, spread, kind = lesson()
    own = gradient[1:, :NUM_ARTICLE]
    assert np.allclose(own[:NUM_AGES].sum(axis=0), gradient[0, :NUM_ARTICLE], atol=1e-4)
    assert np.allclose(own[NUM_AGES:].sum(axis=0), gradient[0, :NUM_ARTICLE], atol=1e-4)
    weights, step = made.statistics.blend.weights, 0.02
    of_reader = (0, LENGTH_ROWS + kind.length, GAP_ROWS + kind.gap)
    rows = [(row, gradient[0]) for row in of_reader]
    rows += [(AGE_ROWS + at, gradient[1 + at]) for at in np.flatnonzero(own.any(axis=1))]
    for at, expected in rows:
        for feature in random.choice(NUM_FEATURES, 6, replace=False):
            held = weights[at, feature]
            weights[at, feature] = held + step
            made.statistics.num_changes += 1
            high = log_probability()
            weights[at, feature] = held - step
            made.statistics.num_changes += 1
            low = log_probability()
            weights[at, feature] = held
            made.statistics.num_changes += 1
            assert expected[feature] == pytest.approx((high - low) / (2 * step), abs=5e-3)
    assert (spread >= 0).all() and spread.any()


def test_the_blend_learns_what_the_stream_rewards() -> None:
    news = catalogue(*(article(f"a{i}", [f"t{i % 6}"], age_h=5) for i in range(120)))
    made = recommender(news)
    before = made.statistics.blend.weights[0].copy()
    random = np.random.default_rng(1)
    for _ in range(300):
        tag = int(random.integers(6))
        read_before, clicked = (int(random.integers(20)) * 6 + tag for _ in range(2))
        if read_before == clicked:
            continue
        reader = see(news, history((f"a{read_before}", 1)))
        (lesson,) = made.lessons(*reader, NOW_MS, np.array([clicked]))
        made.statistics.learn(lesson.gradient, lesson.spread, *lesson.kind)
    risen = made.statistics.blend.weights[0] - before
    assert FEATURES[int(risen.argmax())] == "tags" and risen.max() > 0.3


def test_nothing_is_learned_from_an_article_that_was_not_on_offer() -> None:
    news = catalogue(
        *(article(f"a{i}", ["x"], age_h=5) for i in range(9)), article("ahead", ["x"], age_h=-5)
    )
    reader = see(news, history(("a1", 1)))
    lessons = [recommender(news).lessons(*reader, NOW_MS, np.array([row]))[0] for row in (-1, 9, 1)]
    assert not any(lesson.gradient.any() for lesson in lessons)


def test_the_lesson_of_an_impression_does_not_depend_on_the_batch() -> None:
    news = many(60)
    made = recommender(news)
    click(made, "a3", NOW_MS - HOUR_MS, num=3)
    histories = [history(("a59", 1)), NOBODY, history(*((f"a{i}", 1.0 + i) for i in range(9)))]
    rows = np.array([3, 20, 30, 41])
    shown = [(rows, rows == clicked) for clicked in (20, 3, 41)] + [(rows, rows < 0)]
    histories.append(histories[0])
    together = made.impression_lessons(*see(news, *histories), NOW_MS, shown)
    assert together[3] is None  # nothing was clicked
    for each, seen_with, gradient in zip(histories[:3], shown, together, strict=False):
        (alone,) = made.impression_lessons(*see(news, each), NOW_MS, [seen_with])
        assert alone is not None and gradient is not None and alone.any()
        assert np.array_equal(alone, gradient)


def test_impressions_teach_what_is_clicked_when_shown() -> None:
    news = many(60)
    made = recommender(news)
    reading, tastes = see(news, history(("a59", 1)))
    pages = made.statistics.blend.weights[:-1].copy()
    random = np.random.default_rng(0)
    for _ in range(60):
        rows = random.choice(50, 5, replace=False)
        made.learn_impression(reading, tastes, NOW_MS, rows, rows == rows.min())
    assert np.array_equal(pages, made.statistics.blend.weights[:-1])
    scores, _ = made.score(reading, tastes, NOW_MS, np.array([1, 48]))
    assert scores[0] > scores[1] + 0.1
    # All clicked or none: nothing to choose between, but they were shown.
    before = made.statistics.blend.weights.copy()
    shown_before = made.statistics.items.shown[:, 0].sum()
    made.learn_impression(reading, tastes, NOW_MS, np.array([1, 2]), np.array([True, True]))
    assert np.array_equal(before, made.statistics.blend.weights)
    assert made.statistics.items.shown[:, 0].sum() == shown_before + 2
