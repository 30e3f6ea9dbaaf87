"""The recommendation pipeline: who is shown what, why, and what is learned from a click."""

from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest

from schemas.bundle import Manifest
from schemas.encoded import EncodedArticle
from schemas.history import HEADER_BYTES, article_ref
from schemas.records import Recommendation, ServedFeatures
from tests.unit.catalogues import HOUR_MS, NOW_MS, article, catalogue, history
from worker import messages
from worker.catalogue import Catalogue
from worker.page_json import PageWriter
from worker.reading import Reading, read, tag_interests
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
from worker.recommend.layout import Layout
from worker.recommend.learn import count_click
from worker.recommend.options import Filters, Options, Selection
from worker.recommend.pages import Lesson, Ranked, Tastes
from worker.recommend.recommender import Recommender
from worker.recommend.statistics import Statistics

PLAIN = Options(
    selection=Selection(diversity=0.0, max_per_tag=0, explore_share=0.0), freshness_ms=0
)
NOBODY = bytes(HEADER_BYTES)


NOW = datetime.fromtimestamp(NOW_MS / 1000, UTC)
MANIFEST = msgspec.convert(
    {
        "architecture": "two-stage",
        "model_version": "v1",
        "graphs": {},
        "files": {},
        "vocabulary_size": 1,
        "article_tokens": 1,
        "row_width": 4,
        "max_clicks": 16,
        "income_groups": ["low", "high"],
        "age_mean_years": 40.0,
        "age_sd_years": 10.0,
        "created_at": "",
    },
    Manifest,
)


def recommender(news: Catalogue, options: Options = PLAIN) -> Recommender:
    return Recommender(news, Statistics(64), options)


def see(news: Catalogue, *histories: bytes) -> tuple[Reading, Tastes]:
    reading = read(list(histories), news, 16)
    interests = tag_interests(reading, news, 14.0)
    return reading, Tastes(interests, np.zeros_like(interests), None)


def shown(found: Ranked, news: Catalogue, reader: int = 0) -> list[str]:
    return [news.articles[row].article_id for row in found.rows[reader] if row >= 0]


def click(made: Recommender, article_id: str, time_ms: int, num: int = 1) -> None:
    (item,) = made.statistics.number(
        np.array([int.from_bytes(article_ref(article_id), "big")], dtype=np.int64)
    )
    for _ in range(num):
        count_click(
            made.statistics.items,
            made.statistics.co,
            int(item),
            time_ms,
            np.empty(0, dtype=np.int64),
        )


def many(num: int, seed: int = 0) -> Catalogue:
    random = np.random.default_rng(seed)
    return catalogue(
        *(
            article(
                f"a{i}",
                [f"t{tag}" for tag in random.choice(8, random.integers(0, 4), replace=False)],
                age_h=float(random.integers(1, 500)),
                language=str(random.choice(["en", "de"])),
                value=float(i),
            )
            for i in range(num)
        )
    )


def test_a_reader_is_never_shown_what_they_clicked_nor_one_article_twice() -> None:
    news = many(60)
    histories = [history(*((f"a{i}", 1.0 + i) for i in range(at, at + 9))) for at in range(20)]
    found = recommender(news).rank(*see(news, *histories), NOW_MS, 10)
    for reader in range(20):
        ids = shown(found, news, reader)
        assert len(ids) == len(set(ids)) == 10
        assert not {f"a{i}" for i in range(reader, reader + 9)} & set(ids)


def test_who_read_nearly_everything_is_shown_the_rest() -> None:
    news = catalogue(*(article(f"a{i}", ["x"], age_h=i + 1) for i in range(300)))
    found = recommender(news).rank(
        *see(news, history(*((f"a{i}", 1.0) for i in range(297)))), NOW_MS, 10
    )
    assert set(shown(found, news)) == {"a297", "a298", "a299"}


def test_nothing_is_shown_before_its_publication() -> None:
    news = catalogue(article("now", ["x"], age_h=1), article("ahead", ["x"], age_h=-1))
    made = recommender(news)
    assert shown(made.rank(*see(news, NOBODY), NOW_MS, 10), news) == ["now"]
    later = made.rank(*see(news, NOBODY), NOW_MS + 2 * HOUR_MS, 10)
    assert set(shown(later, news)) == {"now", "ahead"}


def test_languages_follow_the_reader() -> None:
    news = catalogue(
        *(article(f"en{i}", [], language="en") for i in range(3)),
        *(article(f"de{i}", [], language="de", age_h=1) for i in range(3)),
    )
    reader = see(news, history(("de0", 1)))
    assert set(shown(recommender(news).rank(*reader, NOW_MS + 1, 10), news)) == {"de1", "de2"}
    options = Options(filters=Filters(other_languages=True), selection=PLAIN.selection)
    assert len(shown(recommender(news, options).rank(*reader, NOW_MS + 1, 10), news)) == 5


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        (Filters(blocked_tags=frozenset({"ad"})), {"old", "plain"}),
        (Filters(blocked_articles=frozenset({"plain"})), {"old", "paid"}),
        (Filters(max_age_days=2.0), {"plain", "paid"}),
    ],
)
def test_filters_of_articles(filters: Filters, left: set[str]) -> None:
    news = catalogue(
        article("old", [], age_h=100),
        article("plain", ["x"], age_h=1),
        article("paid", ["x", "ad"], age_h=1),
    )
    options = Options(filters=filters, selection=PLAIN.selection)
    found = recommender(news, options).rank(*see(news, NOBODY), NOW_MS, 10)
    assert set(shown(found, news)) == left


def test_a_withdrawn_article_is_shown_to_nobody_until_it_is_brought_back() -> None:
    news = catalogue(*(article(f"a{i}", ["x"], age_h=5) for i in range(4)))
    made = recommender(news)
    reader = see(news, history(("a3", 1)))
    assert set(shown(made.rank(*reader, NOW_MS, 10), news)) == {"a0", "a1", "a2"}
    news.withdraw([article_ref("a1"), article_ref("a3"), article_ref("nowhere")])
    assert set(shown(made.rank(*reader, NOW_MS, 10), news)) == {"a0", "a2"}
    assert set(shown(made.rank(*see(news, NOBODY), NOW_MS, 10), news)) == {"a0", "a2"}
    # Learned again from another worker's encoding, it stays withdrawn.
    news.put(article("a1", ["y"], age_h=1))
    assert set(shown(made.rank(*reader, NOW_MS, 10), news)) == {"a0", "a2"}
    news.bring_back([article_ref("a1")])
    assert set(shown(made.rank(*reader, NOW_MS, 10), news)) == {"a0", "a1", "a2"}


def test_a_reader_without_history_gets_what_is_hot() -> None:
    news = catalogue(*(article(f"a{i}", ["x"], age_h=5) for i in range(30)))
    made = recommender(news)
    click(made, "a7", NOW_MS - HOUR_MS // 2, num=5)
    assert shown(made.rank(*see(news, NOBODY), NOW_MS, 10), news)[0] == "a7"
    # Clicked article or not, known or not: a page all the same.
    for reader in (history(("gone", 1)), history(("a1", 1))):
        assert len(shown(made.rank(*see(news, reader), NOW_MS, 10), news)) == 10


def test_what_was_hot_gives_way_to_what_is() -> None:
    news = catalogue(*(article(f"a{i}", [], age_h=300) for i in range(30)))
    made = recommender(news)
    click(made, "a1", NOW_MS - 200 * HOUR_MS, num=6)
    click(made, "a2", NOW_MS - HOUR_MS // 2, num=4)
    assert shown(made.rank(*see(news, NOBODY), NOW_MS, 10), news)[:2] == ["a2", "a1"]


def test_own_tags_count() -> None:
    tags = [[f"t{i % 5}"] for i in range(50)]
    news = catalogue(*(article(f"a{i}", tags[i], age_h=5) for i in range(50)))
    found = recommender(news).rank(*see(news, history(("a2", 1), ("a7", 2))), NOW_MS, 8)
    assert {news.articles[row].tags[0] for row in found.rows[0]} == {"t2"}


def test_articles_without_text_are_no_duplicates_for_having_the_same_tags() -> None:
    news = catalogue(*(article(f"a{i}", ["sport", "fc"], age_h=5) for i in range(6)))
    layout = Layout(news, Statistics(8), PLAIN)
    layout.follow()
    assert not layout.articles.vectors.any()
    told = catalogue(*(article(f"a{i}", ["x"], title=f"word{i % 2} rare{i % 2}") for i in range(6)))
    layout = Layout(told, Statistics(8), PLAIN)
    layout.follow()
    likeness = layout.articles.vectors @ layout.articles.vectors.T
    assert likeness[0, 2] == pytest.approx(1.0, abs=1e-5) and likeness[0, 1] < 0.5


def test_a_shortlist_ranks_as_everything_does() -> None:
    news = many(250, seed=5)
    made = recommender(news)
    random = np.random.default_rng(2)
    for at in range(400):
        click(made, f"a{int(random.zipf(1.5)) % 250}", NOW_MS - int(at * HOUR_MS / 4))
    reader = see(news, history(*((f"a{i}", float(i)) for i in range(1, 9))))
    found = made.rank(*reader, NOW_MS, 10)
    allowed = [row for row in range(250) if f"a{row}" not in {f"a{i}" for i in range(1, 9)}]
    # What is given is scored by the weights of impressions: let them be those of pages, which
    # nothing has taught yet to differ by age.
    made.statistics.blend.weights[-1] = made.statistics.blend.weights[0]
    made.statistics.num_changes += 1
    scores, _ = made.score(*reader, NOW_MS, np.array(allowed))
    best = sorted(scores.tolist(), reverse=True)[:10]
    assert found.scores[0].tolist() == pytest.approx(best, abs=1e-3)


def test_reasons_add_up_to_the_score() -> None:
    news = many(80)
    made = recommender(news)
    click(made, "a3", NOW_MS - HOUR_MS, num=3)
    reading, tastes = see(news, history(("a1", 1), ("a2", 3)), NOBODY)
    found = made.rank(reading, tastes, NOW_MS, 10)
    assert found.shares.sum(axis=2) == pytest.approx(found.scores, abs=1e-4)
    pages = PageWriter(news, MANIFEST.model_version).write(
        ["u1", "u2"], ["r1", "r2"], found, tastes.interests, NOW
    )
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


def test_each_readers_page_is_their_own() -> None:
    news = many(90)
    made = recommender(news)
    histories = [history(*((f"a{i}", 1.0 + i) for i in range(at, 2 * at + 1))) for at in range(9)]
    together = made.rank(*see(news, *histories), NOW_MS, 10)
    for reader, each in enumerate(histories):
        alone = made.rank(*see(news, each), NOW_MS, 10)
        assert alone.rows[0].tolist() == together.rows[reader].tolist()


def test_exploration_takes_the_last_place_of_its_share_of_pages() -> None:
    languages = ["en", "de"]
    news = catalogue(
        *(article(f"a{i}", ["x"], age_h=i + 1, language=languages[i % 2]) for i in range(80))
    )
    options = Options(selection=Selection(diversity=0.0, max_per_tag=0, explore_share=0.3))
    made = recommender(news, options)
    seeds = np.arange(10_000, dtype=np.int64)[::50]
    reading, tastes = see(news, *[history(("a1", 1))] * len(seeds))
    found = made.rank(reading, tastes, NOW_MS, 5, seeds)
    assert found.explored.any(axis=1).mean() == pytest.approx(0.3)
    assert not found.explored[:, :-1].any()
    for reader in range(len(seeds)):
        ids = shown(found, news, reader)
        assert len(set(ids)) == 5 and "a1" not in ids
        # The reader reads German only.
        assert all(int(each[1:]) % 2 for each in ids)


def test_articles_without_text_vectors_rank_by_the_rest() -> None:
    news = Catalogue(0, np.dtype("<f4"))
    for i in range(20):
        news.put(EncodedArticle(f"a{i}", "v", b"", [], NOW_MS - i * HOUR_MS, None))
    found = recommender(news).rank(*see(news, NOBODY), NOW_MS + 1, 10)
    assert shown(found, news)[0] == "a0"


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
