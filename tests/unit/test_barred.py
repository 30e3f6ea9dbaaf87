"""What one reader is not offered, by whatever way an article could come to a page."""

from functools import reduce
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.history import merge
from schemas.preferences import newest, pack_preferences, time_of
from schemas.records import Preferences
from schemas.showings import MAX_SHOWINGS, pack_showings
from tests.unit.catalogues import HOUR_MS, NOW_MS, article, catalogue, history
from tests.unit.recommenders import NOBODY, PLAIN, click, many, recommender, see, shown
from worker.catalogue import Catalogue
from worker.recommend.barred import Limits
from worker.recommend.options import Filters, Options, Selection
from worker.recommend.recommender import Recommender


def showings(*impressions: tuple[float, list[str]]) -> bytes:
    """Pack impressions given as hours before now and article ids."""
    entries = [
        entry
        for hours, names in impressions
        for entry in pack_showings(NOW_MS - int(hours * HOUR_MS), None, names)
    ]
    return merge(None, entries, MAX_SHOWINGS)


def only_shown(held: list[bytes | None]) -> Limits:
    return Limits(held, [None] * len(held))


def wishes(tags: list[str], articles: list[str]) -> bytes:
    return pack_preferences(
        Preferences(user_id="u", timestamp=1, blocked_tags=tags, blocked_articles=articles)
    )


def pages(made: Recommender, news: Catalogue, limits: Limits, *histories: bytes) -> list[set[str]]:
    found = made.rank(*see(news, *histories), NOW_MS, 10, None, limits)
    return [set(shown(found, news, reader)) for reader in range(len(histories))]


def test_what_was_shown_five_times_in_vain_is_not_offered_to_this_reader() -> None:
    news = catalogue(*(article(f"a{i}", ["x"], age_h=i + 1) for i in range(6)))
    five = showings(*((hours, ["a1", "a2", "gone"]) for hours in range(1, 6)), (6, ["a3"]))
    four = showings(*((hours, ["a1"]) for hours in range(1, 5)))
    limits = only_shown([None, five, four, b"\x09 unreadable"])
    every = {f"a{i}" for i in range(6)}
    found = pages(recommender(news), news, limits, NOBODY, NOBODY, history(("a0", 1)), NOBODY)
    assert found == [every, every - {"a1", "a2"}, every - {"a0"}, every]


def test_only_showings_of_some_days_count() -> None:
    news = catalogue(*(article(f"a{i}", ["x"], age_h=900) for i in range(3)))
    made = recommender(news)
    week = 7 * 24.0
    old = showings((week, ["a1"]), *((hours, ["a1"]) for hours in (1, 2, 3, 4)))
    recent = showings((week - 1, ["a1"]), *((hours, ["a1"]) for hours in (1, 2, 3, 4)))
    every = {"a0", "a1", "a2"}
    assert pages(made, news, only_shown([old, recent]), NOBODY, NOBODY) == [every, every - {"a1"}]


@pytest.mark.parametrize(("max_shown", "left"), [(0, {"a0", "a1"}), (2, {"a0"}), (3, {"a0", "a1"})])
def test_how_often_is_too_often_is_an_option(max_shown: int, left: set[str]) -> None:
    news = catalogue(*(article(f"a{i}", ["x"], age_h=5) for i in range(2)))
    options = Options(filters=Filters(max_shown=max_shown), selection=PLAIN.selection)
    twice = showings((1, ["a1"]), (2, ["a1"]))
    assert pages(recommender(news, options), news, only_shown([twice]), NOBODY) == [left]


def test_by_no_way_does_a_barred_article_come_to_a_page() -> None:
    """Not as popular, co-clicked, of the reader's tags, as new, nor to explore."""
    news = many(400)
    options = Options(selection=Selection(diversity=0.0, max_per_tag=0, explore_share=1.0))
    made = recommender(news, options)
    random = np.random.default_rng(0)
    for at in range(500):
        click(made, f"a{int(random.zipf(1.4)) % 400}", NOW_MS - int(at * HOUR_MS / 4))
    readers = [history(*((f"a{i}", 1.0 + i) for i in range(at, at + 5))) for at in range(30)]
    seeds = np.arange(30, dtype=np.int64)
    limits = only_shown([None] * 30)
    for _ in range(5):  # what is shown is barred, and so what comes next, until nothing is left
        found = made.rank(*see(news, *readers), NOW_MS, 10, seeds, limits)
        before = limits.showings
        barred: list[bytes | None] = []
        for reader, held in enumerate(before):
            page = shown(found, news, reader)
            packed = [pack_showings(NOW_MS - hour, None, page) for hour in range(5)]
            barred.append(merge(held, [entry for each in packed for entry in each], 4096))
            again = merge(held, [], 4096)
            refs = {again[at + 18 : at + 24] for at in range(0, len(again) - 8, 16)}
            assert len(page) == len(set(page)) == 10
            assert not refs & {entry[-6:] for entry in packed[0]}
        limits = only_shown(barred)


def test_where_everything_is_barred_the_page_is_short() -> None:
    """The last resort, whatever there is besides, does not offer it either."""
    news = catalogue(*(article(f"a{i}", ["x"], age_h=i + 1) for i in range(40)))
    often = showings(*((hours, [f"a{i}" for i in range(38)]) for hours in range(1, 6)))
    assert pages(recommender(news), news, only_shown([often]), NOBODY) == [{"a38", "a39"}]


def test_a_barred_reader_changes_nothing_for_the_others() -> None:
    news = many(90)
    made = recommender(news)
    readers = [history(*((f"a{i}", 1.0 + i) for i in range(at, at + 4))) for at in range(9)]
    alone = made.rank(*see(news, *readers), NOW_MS, 10)
    often = showings(*((hours, [f"a{i}" for i in range(40, 80)]) for hours in range(1, 6)))
    limits = only_shown([often if reader % 2 else None for reader in range(9)])
    beside = made.rank(*see(news, *readers), NOW_MS, 10, None, limits)
    for reader in range(0, 9, 2):
        assert beside.rows[reader].tolist() == alone.rows[reader].tolist()
        assert np.array_equal(beside.scores[reader], alone.scores[reader])


def test_blocked_tags_and_articles_are_not_offered_to_this_reader() -> None:
    news = catalogue(
        article("plain", ["x"], age_h=1),
        article("ad", ["x", "ad"], age_h=2),
        article("sport", ["sport"], age_h=3),
        article("bare", [], age_h=4),
    )
    made = recommender(news)
    limits = Limits(
        [None] * 5,
        [
            None,
            wishes(["ad", "sport", "never met"], []),
            wishes(["a"], ["bare", "gone"]),
            wishes([], []),
            b"not readable",
        ],
    )
    every = {"plain", "ad", "sport", "bare"}
    found = pages(made, news, limits, *[NOBODY] * 5)
    assert found == [every, {"plain", "bare"}, every - {"bare"}, every, every]


def test_articles_that_come_later_or_change_their_tags_are_blocked_too() -> None:
    news = catalogue(article("a", ["x"], age_h=1), article("b", ["ad"], age_h=1))
    made = recommender(news)
    limits = Limits([None], [wishes(["ad"], ["c"])])
    assert pages(made, news, limits, NOBODY) == [{"a"}]
    news.put(article("c", ["x"], age_h=1))
    news.put(article("d", ["y"], age_h=1))
    news.put(article("a", ["x", "ad"], age_h=1))
    news.put(article("b", ["x"], age_h=1))
    assert pages(made, news, limits, NOBODY) == [{"b", "d"}]


def test_a_blocked_tag_is_found_among_more_than_are_ranked_by() -> None:
    many_tags = [f"t{i}" for i in range(20)]
    news = catalogue(article("a", [*many_tags, "ad"], age_h=1), article("b", ["x"], age_h=1))
    made = recommender(news)
    assert pages(made, news, Limits([None], [wishes(["ad"], [])]), NOBODY) == [{"b"}]
    news.put(article("a", many_tags, age_h=1))
    assert pages(made, news, Limits([None], [wishes(["ad"], [])]), NOBODY) == [{"a", "b"}]


def test_what_was_shown_and_what_is_blocked_add_up() -> None:
    news = catalogue(*(article(f"a{i}", [f"t{i}"], age_h=i + 1) for i in range(5)))
    often = showings(*((hours, ["a1", "a2"]) for hours in range(1, 6)))
    limits = Limits([None, often, often], [wishes(["t0"], []), None, wishes(["t2", "t3"], ["a4"])])
    every = {f"a{i}" for i in range(5)}
    found = pages(recommender(news), news, limits, *[NOBODY] * 3)
    assert found == [every - {"a0"}, every - {"a1", "a2"}, {"a0"}]


stored = st.builds(
    lambda time_ms, tags: pack_preferences(
        Preferences(user_id="u", timestamp=time_ms, blocked_tags=tags)
    ),
    st.integers(0, 4),
    st.lists(st.sampled_from(["a", "b"])),
)


@given(st.lists(st.none() | stored, min_size=1), st.randoms())
def test_the_newest_preferences_win_in_any_order(
    messages: list[bytes | None], random: Random
) -> None:
    last = reduce(newest, messages)
    shuffled = messages * 2
    random.shuffle(shuffled)
    assert reduce(newest, shuffled) == last
    assert time_of(last) == max(map(time_of, messages))
