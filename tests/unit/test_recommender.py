"""The recommendation pipeline: who is shown what."""

import numpy as np
import pytest

from schemas.encoded import EncodedArticle
from schemas.history import article_ref
from tests.unit.catalogues import HOUR_MS, NOW_MS, article, catalogue, history
from tests.unit.recommenders import NOBODY, PLAIN, click, many, recommender, see, shown
from worker.catalogue import Catalogue
from worker.recommend.layout import Layout
from worker.recommend.learn import count_click, free_slot
from worker.recommend.options import Filters, Options, Selection
from worker.recommend.reader_features import most_alike
from worker.recommend.recommender import Recommender
from worker.recommend.state import NO_SLOT
from worker.recommend.statistics import Statistics


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


def test_each_readers_page_is_their_own() -> None:
    news = many(90)
    made = recommender(news)
    histories = [history(*((f"a{i}", 1.0 + i) for i in range(at, 2 * at + 1))) for at in range(9)]
    together = made.rank(*see(news, *histories), NOW_MS, 10)
    for reader, each in enumerate(histories):
        alone = made.rank(*see(news, each), NOW_MS, 10)
        assert alone.rows[0].tolist() == together.rows[reader].tolist()


@pytest.mark.parametrize("freed", [[], [3], [39], [0, 38, 39]])
def test_room_for_more_co_clicks_changes_nothing(freed: list[int]) -> None:
    news = many(90)
    histories = [history(*((f"a{i}", 1.0 + i) for i in range(at, at + 7))) for at in range(40)]
    pages, lessons = [], []
    for slots in (40, 41, 500):
        statistics = Statistics(slots)
        items = statistics.number(news.refs())[:40]
        for at in range(400):
            before = items[[(at * 7 + 1) % 40, (at * 3 + 2) % 40]]
            count_click(statistics.items, statistics.co, items[at % 40], NOW_MS + at, before)
        statistics.fit()
        for slot in freed:
            statistics.items.slot[statistics.co.item[slot]] = NO_SLOT
            free_slot(statistics.co, slot)
        made = Recommender(news, statistics, PLAIN)
        pages.append(made.rank(*see(news, *histories), NOW_MS + 400, 10))
        clicked = np.arange(50, 90)
        lessons.append(made.lessons(*see(news, *histories), NOW_MS + 400, clicked))
    assert (pages[0].linked >= 0).any()
    for page, lesson in zip(pages[1:], lessons[1:], strict=True):
        assert all(np.array_equal(*each) for each in zip(page, pages[0], strict=True))
        for one, other in zip(lesson, lessons[0], strict=True):
            assert np.array_equal(one.gradient, other.gradient) and one.gradient.any()


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


def test_the_most_alike_are_found_whatever_their_order_and_of_equal_ones_the_first() -> None:
    random = np.random.default_rng(0)
    likeness = random.integers(-3, 9, (200, 40)).astype(np.float32)
    likeness[0] = 0.0
    found = np.empty((200, 8), dtype=np.int64)
    most_alike(likeness, found)
    expected = np.sort(np.argsort(-likeness, axis=1, kind="stable")[:, :8], axis=1)
    assert np.array_equal(found, expected)
