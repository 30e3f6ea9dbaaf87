"""Ranking: what may be shown, in which order, and why."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.unit.catalogues import NOW_MS, article, catalogue
from worker.catalogue import Catalogue
from worker.ranking import Ranked, Weights, rank, shortlist

WEIGHTS = Weights(tags=0.5, affinity=0.3, fresh=0.2, fresh_half_life_h=24.0)
NONE_SEEN = (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))


def run(
    news: Catalogue,
    interests: list[dict[str, float]],
    *,
    seen: tuple[NDArray[np.int64], NDArray[np.int64]] = NONE_SEEN,
    affinity: list[dict[str, float]] | None = None,
    reads: NDArray[np.bool_] | None = None,
    k: int = 3,
) -> Ranked:
    def table(rows: list[dict[str, float]]) -> NDArray[np.float32]:
        names = news.tag_names
        return np.array([[row.get(tag, 0.0) for tag in names] for row in rows], dtype=np.float32)

    everything = np.ones((len(interests), news.num_languages + 1), dtype=np.bool_)
    return rank(
        news,
        shortlist(news, NOW_MS, WEIGHTS.fresh_half_life_h),
        table(interests),
        table(affinity or [{} for _ in interests]),
        seen,
        everything if reads is None else reads,
        WEIGHTS,
        k,
    )


def ids(news: Catalogue, ranked: Ranked, reader: int = 0) -> list[str]:
    return [news.articles[row].article_id for row in ranked.rows[reader] if row >= 0]


def test_what_the_reader_reads_comes_first() -> None:
    news = catalogue(article("a", ["x"]), article("b", ["y"]), article("c", ["z"]))
    assert ids(news, run(news, [{"y": 0.9, "z": 0.1}])) == ["b", "c", "a"]


def test_of_equals_the_fresher_comes_first() -> None:
    news = catalogue(article("old", ["x"], age_h=48), article("new", ["x"], age_h=1))
    assert ids(news, run(news, [{"x": 1.0}])) == ["new", "old"]


def test_what_readers_like_this_one_like_counts() -> None:
    news = catalogue(article("a", ["x"]), article("b", ["y"]))
    assert ids(news, run(news, [{}], affinity=[{"y": 0.5}])) == ["b", "a"]


def test_a_seen_article_never_comes_again() -> None:
    news = catalogue(article("a", ["x"]), article("b", ["x"]))
    seen = (np.array([0]), np.array([0]))
    ranked = run(news, [{"x": 1.0}, {"x": 1.0}], seen=seen)
    assert ids(news, ranked, 0) == ["b"]
    assert sorted(ids(news, ranked, 1)) == ["a", "b"]


def test_what_is_published_later_waits() -> None:
    news = catalogue(article("now", ["x"]), article("tomorrow", ["x"], age_h=-24))
    assert ids(news, run(news, [{"x": 1.0}])) == ["now"]


def test_an_article_without_date_or_tags_can_be_shown() -> None:
    news = catalogue(article("bare", [], age_h=None))
    assert ids(news, run(news, [{}])) == ["bare"]


def test_only_languages_the_reader_reads() -> None:
    news = catalogue(
        article("en", ["x"], language="en"), article("de", ["x"], language="de"), article("?", [])
    )
    reads = np.array([[True, False, True]])
    assert ids(news, run(news, [{"x": 1.0}], reads=reads)) == ["en", "?"]


def test_who_has_read_the_shortlists_gets_the_rest() -> None:
    news = catalogue(*(article(f"a{i:03}", ["x"], age_h=i) for i in range(300)))
    seen = (np.zeros(295, dtype=np.int64), np.arange(295))
    assert ids(news, run(news, [{"x": 1.0}], seen=seen, k=10)) == [
        "a295", "a296", "a297", "a298", "a299",
    ]  # fmt: skip


def test_an_empty_catalogue_gives_an_empty_page() -> None:
    news = catalogue()
    assert ids(news, run(news, [{}])) == []
    news.tag_number("x")  # known from the model's tag affinity, before any article is
    assert ids(news, run(news, [{"x": 1.0}, {}])) == []


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_ranking_agrees_with_scoring_everything(data: st.DataObject) -> None:
    tags = ["t0", "t1", "t2", "t3"]
    size = data.draw(st.integers(1, 25))
    news = catalogue(
        *(
            article(
                str(i),
                data.draw(st.lists(st.sampled_from(tags), unique=True, max_size=3)),
                age_h=data.draw(st.one_of(st.none(), st.floats(-5, 99))),
            )
            for i in range(size)
        )
    )
    interests = data.draw(st.dictionaries(st.sampled_from(tags), st.floats(0, 1), max_size=4))
    affinity = data.draw(st.dictionaries(st.sampled_from(tags), st.floats(-1, 1), max_size=4))
    seen_rows = data.draw(st.lists(st.integers(0, size - 1), unique=True))
    seen = (np.zeros(len(seen_rows), dtype=np.int64), np.array(seen_rows, dtype=np.int64))
    ranked = run(news, [interests], affinity=[affinity], seen=seen, k=5)

    def score(row: int) -> float:
        found = news.articles[row]
        share = 1 / np.sqrt(max(len(found.tags), 1))
        own = sum(interests.get(tag, 0.0) for tag in found.tags) * share
        like = sum(affinity.get(tag, 0.0) for tag in found.tags) * share
        fresh = 0.0
        if found.published_ms is not None:
            fresh = 0.5 ** ((NOW_MS - found.published_ms) / 3_600_000 / 24)
        return float(0.5 * own + 0.3 * like + 0.2 * fresh)

    eligible = [
        row
        for row in range(size)
        if row not in seen_rows and (news.articles[row].published_ms or 0) <= NOW_MS
    ]
    best = sorted((score(row) for row in eligible), reverse=True)[:5]
    rows = [int(row) for row in ranked.rows[0] if row >= 0]
    assert set(rows) <= set(eligible) and len(rows) == len(set(rows))
    assert [score(row) for row in rows] == pytest.approx(best, abs=1e-5)
    assert ranked.scores[0][: len(rows)].tolist() == pytest.approx(best, abs=1e-5)
