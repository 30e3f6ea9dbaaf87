"""Baselines beside a plain-Python reference, and on streams whose order is plain to see."""

from collections.abc import Callable
from math import inf, sqrt

import numpy as np
import pytest

from tests.tiny_streams import HOUR_MS, Clicked, stream_of
from worker.stream_evaluation.baselines import (
    Baseline,
    Chance,
    ClickThrough,
    CoClicks,
    Newest,
    Popularity,
    TaggedPopularity,
    baselines_of,
)
from worker.stream_evaluation.measure import last_click, prequential
from worker.stream_evaluation.protocol import LoadedStream, Shown

Past = list[Clicked]
Score = Callable[[LoadedStream, Past, int, int, int], float]
"""Stream, distinct clicks so far, user, article, now."""


def popularity(half_life_h: float) -> Score:
    def score(stream: LoadedStream, past: Past, user: int, article: int, now_ms: int) -> float:  # noqa: ARG001
        ages = [now_ms - time_ms for _, clicked, time_ms in past if clicked == article]
        return sum(2.0 ** (-age / HOUR_MS / half_life_h) for age in ages)

    return score


def newest(stream: LoadedStream, past: Past, user: int, article: int, now_ms: int) -> float:  # noqa: ARG001
    return float(stream.published_ms[article])


def co_clicks(stream: LoadedStream, past: Past, user: int, article: int, now_ms: int) -> float:  # noqa: ARG001
    histories: dict[int, list[int]] = {}
    together: dict[frozenset[int], int] = {}
    for reader, clicked, _ in past:
        history = histories.setdefault(reader, [])
        for other in history[-10:]:
            pair = frozenset((clicked, other))
            together[pair] = together.get(pair, 0) + 1
        history.append(clicked)
    readers = [sum(clicked == each for _, clicked, _ in past) for each in range(len(stream.tags))]
    return sum(
        together[pair] / sqrt(readers[article] * readers[other])
        for other in histories.get(user, [])[-10:]
        if (pair := frozenset((article, other))) in together
    )


def tagged(stream: LoadedStream, past: Past, user: int, article: int, now_ms: int) -> float:
    read = [clicked for reader, clicked, _ in past if reader == user]
    fit = sum(
        1.0 / sqrt(len(stream.tags[each]) * len(stream.tags[article]))
        for each in read
        for tag in stream.tags[each]
        if tag in stream.tags[article]
    )
    return fit * popularity(168.0)(stream, past, user, article, now_ms)


def reference_ranks(stream: LoadedStream, score: Score) -> list[float]:
    """Follow the prequential protocol in plain Python; ties take the middle."""
    past: Past = []
    ranks = []
    clicks = zip(
        stream.users.tolist(), stream.articles.tolist(), stream.times_ms.tolist(), strict=True
    )
    for at, (user, article, now_ms) in enumerate(clicks):
        own = {clicked for reader, clicked, _ in past if reader == user}
        known = {
            each
            for each in range(stream.num_articles)
            if stream.published_ms[each] < now_ms or any(clicked == each for _, clicked, _ in past)
        }
        if at >= stream.num_clicks // 10 and article in known - own:
            scores = {
                each: float(f"{score(stream, past, user, each, now_ms):.9g}")
                for each in known - own
            }
            above = sum(value > scores[article] for value in scores.values())
            equal = sum(value == scores[article] for value in scores.values()) - 1
            ranks.append(above + equal / 2)
        if article not in own:
            past.append((user, article, now_ms))
    return ranks


def random_stream(seed: int) -> LoadedStream:
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(0, 40 * HOUR_MS, 150))
    clicks = [
        (int(rng.integers(8)), int(rng.integers(30) * rng.random()), int(time)) for time in times
    ]
    return stream_of(
        clicks,
        num_articles=30,
        published_ms=[int(rng.integers(-1, 30)) * HOUR_MS for _ in range(30)],
        tags=[tuple({f"t{tag}" for tag in rng.integers(0, 5, rng.integers(4))}) for _ in range(30)],
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("make", "score"),
    [
        (lambda stream: Popularity(stream, 1.0), popularity(1.0)),
        (lambda stream: Popularity(stream, 24.0), popularity(24.0)),
        (lambda stream: Popularity(stream, inf), popularity(inf)),
        (Newest, newest),
        (CoClicks, co_clicks),
        (TaggedPopularity, tagged),
    ],
    ids=["1 h", "1 d", "all", "newest", "co-clicks", "tags"],
)
def test_ranks_are_those_of_a_plain_reference(
    make: Callable[[LoadedStream], Baseline], score: Score, seed: int
) -> None:
    stream = random_stream(seed)
    expected = reference_ranks(stream, score)
    assert len(expected) > 50
    assert prequential(stream, make(stream)).ranks.tolist() == expected


def test_a_tie_takes_the_middle_and_its_page_a_random_order() -> None:
    stream = stream_of([(0, 4, 1)], num_articles=9)
    baseline = Popularity(stream, inf)
    pages = []
    for _ in range(200):
        rank, page = baseline.place(0, 4, 1, 10)
        assert rank == 4.0
        pages.append(tuple(page))
    assert {len(set(page)) for page in pages} == {9}
    assert len({page[0] for page in pages}) == 9


def test_the_page_is_best_first_and_holds_no_article_of_the_reader() -> None:
    stream = stream_of([], num_articles=5, published_ms=[-1, -1, -1, -1, 100])
    baseline = Popularity(stream, inf)
    for user, article in [(0, 0), (1, 0), (2, 0), (1, 2), (2, 2), (3, 1)]:
        baseline.learn(user, article, 1)
    assert baseline.rank(9, 2, 10) == [0, 2, 1, 3]
    assert baseline.rank(9, 2, 2) == [0, 2]
    assert baseline.rank(1, 2, 2) == [1, 3]
    assert baseline.rank(9, 101, 10)[:3] == [0, 2, 1]
    assert 4 in baseline.rank(9, 101, 10)


def test_an_article_that_is_no_candidate_has_no_rank() -> None:
    baseline = Popularity(stream_of([], num_articles=2, published_ms=[-1, 100]), inf)
    baseline.learn(0, 0, 1)
    assert baseline.place(0, 0, 2, 10)[0] == inf
    assert baseline.place(1, 1, 100, 10)[0] == inf
    assert baseline.place(1, 1, 101, 10)[0] == 1.0


def test_repeated_clicks_change_no_popularity() -> None:
    stream = stream_of([], num_articles=2)
    baseline = Popularity(stream, inf)
    for now_ms in range(5):
        baseline.learn(0, 0, now_ms)
    baseline.learn(1, 1, 5)
    baseline.learn(2, 1, 6)
    assert baseline.rank(9, 7, 1) == [1]


def test_popularity_neither_underflows_nor_overflows() -> None:
    # With a half-life of an hour, a year is 2^-8760: it must order all the same, from any moment.
    year_ms = 365 * 24 * HOUR_MS
    baseline = Popularity(stream_of([], num_articles=3), 1.0)
    baseline.learn(0, 0, 0)
    baseline.learn(0, 1, HOUR_MS)
    baseline.learn(0, 2, 2 * year_ms)
    assert baseline.rank(9, 3 * year_ms, 3) == [2, 1, 0]
    assert baseline.rank(9, HOUR_MS, 3) == [2, 1, 0]


def test_chance_is_random() -> None:
    clicks = [(user, user % 50, user) for user in range(4_000)]
    stream = stream_of(clicks, num_articles=50)
    measured = prequential(stream, Chance(stream))
    hits = (measured.ranks < 10).mean()
    assert abs(hits - 10 / 50) < 4 * sqrt(0.2 * 0.8 / len(measured.ranks))


def test_click_through_knows_nothing_of_the_impression_it_scores() -> None:
    shown = [Shown(0, 1, (0, 1), (1,)), Shown(1, 2, (0, 1), (1,)), Shown(2, 3, (1, 2), (2,))]
    stream = stream_of([(0, 0, 9)], num_articles=3, impressions=shown)
    baseline = ClickThrough(stream)
    assert baseline.score(0, [0, 1], 1) == [0.0, 0.0]
    aucs = prequential(stream, baseline).impression_figures[:, 0]
    # A tie; right; then article 1, clicked each time, stands above one that was never shown.
    assert aucs.tolist() == [0.5, 1.0, 0.0]
    # Of six shown three were clicked: article 1 twice of three, 0 never of two, 2 once of one.
    assert baseline.score(0, [0, 1, 2], 9) == pytest.approx([0.5 / 3, 2.5 / 4, 1.5 / 2])


def test_only_baselines_with_data_are_made() -> None:
    plain = set(baselines_of(stream_of([(0, 0, 1)], num_articles=1)))
    assert plain.isdisjoint({"newest", "tags × popularity", "click-through"})
    full = stream_of(
        [(0, 0, 1)],
        num_articles=1,
        published_ms=[0],
        tags=[("x",)],
        impressions=[Shown(0, 1, (0,), ())],
    )
    extra = set(baselines_of(full)) - plain
    assert extra == {"newest", "tags × popularity", "click-through"}


def test_baselines_go_through_the_frozen_protocols() -> None:
    # Reader 0 has five; the held-out one is what readers 1 to 3 have clicked too.
    clicks = [(0, number, number) for number in range(5)]
    clicks += [(user, 4, 10 + user) for user in (1, 2, 3)]
    stream = stream_of(clicks, num_articles=12)
    measured = last_click(stream, Popularity(stream, 1.0))
    assert measured.ranks.tolist() == [0.0]
