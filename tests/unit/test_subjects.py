"""What is learned of terms: which are hot, and which are clicked when they are shown."""

import numpy as np
import pytest
from numpy.typing import NDArray

from worker.recommend.state import Terms, empty_items, empty_terms
from worker.recommend.subjects import (
    appeal_of,
    cool_terms,
    heat_terms,
    heats_of,
    learn_appeal,
    list_terms,
)
from worker.terms import article_terms, unpack_terms

DAY_MS = 86_400_000


def about(*tags: str) -> NDArray[np.int32]:
    return unpack_terms(article_terms(None, None, tags))


def heat_of(known: Terms, terms: NDArray[np.int32]) -> float:
    """Return the heat of one article, the second of two."""
    found = np.empty(1, dtype=np.float32)
    lists = list_terms(np.array([terms, about("other")]), np.array([-1, 0]))
    heats_of(known.heat, *lists, np.array([1], dtype=np.int32), found)
    return float(found[0])


def steady(known: Terms, days: int) -> int:
    """Click ten subjects evenly, forty clicks a day; return the time of the last."""
    time_ms = 0
    for at in range(days * 40):
        time_ms = at * DAY_MS // 40
        heat_terms(known, about(f"s{at % 10}"), time_ms)
    return time_ms


def test_a_subject_that_is_clicked_more_than_usual_is_hot_and_cools() -> None:
    known = empty_terms()
    time_ms = steady(known, 30)
    assert abs(heat_of(known, about("s3"))) < 0.2
    for step in range(60):
        heat_terms(known, about("s3"), time_ms + step * 60_000)
    hot = heat_of(known, about("s3"))
    assert hot > 0.7
    # An article with several subjects has their mean.
    assert heat_of(known, about("s3", "unheard of")) == pytest.approx(hot / 2, abs=0.05)
    for at in range(400):
        heat_terms(known, about(f"s{at % 10}"), time_ms + DAY_MS + at * DAY_MS // 40)
    assert heat_of(known, about("s3")) < hot / 2
    cool_terms(known)
    assert heat_of(known, about("s3")) < hot / 2


def test_one_click_on_a_rare_subject_is_no_trend() -> None:
    known = empty_terms()
    time_ms = steady(known, 30)
    heat_terms(known, about("new"), time_ms + 1)
    assert heat_of(known, about("new")) < 0.3


def test_late_clicks_count_what_they_are_worth_by_now() -> None:
    counts = []
    for times in ([0, DAY_MS, 3 * DAY_MS], [3 * DAY_MS, 0, DAY_MS]):
        known = empty_terms()
        for time_ms in times:
            heat_terms(known, about("s"), time_ms)
        counts.append(known.clicks[about("s")[0]].tolist() + known.all_clicks.tolist())
    assert counts[0] == pytest.approx(counts[1], rel=1e-5)
    assert counts[0][0] == pytest.approx(1 + 1 / 4 + 1 / 8, rel=1e-5)


def test_the_subject_that_is_clicked_when_shown_appeals_in_new_articles_too() -> None:
    items, known = empty_items(64), empty_terms()
    random = np.random.default_rng(0)
    for _ in range(300):
        shown = random.choice(40, 5, replace=False).astype(np.int64)
        terms = np.stack([about(f"s{item % 4}", f"only {item}") for item in shown])
        likes = np.where(shown % 4 == 1, 4.0, 1.0)
        chosen = random.choice(5, p=likes / likes.sum())
        learn_appeal(items, known, terms, shown, np.arange(5) == chosen)
    fresh = [
        appeal_of(items.appeal[50, 0], known.appeal, about(f"s{subject}", "new"))
        for subject in range(4)
    ]
    assert int(np.argmax(fresh)) == 1 and fresh[1] > 0.2
    assert max(fresh[:1] + fresh[2:]) < 0.0


def test_an_article_has_an_appeal_of_its_own() -> None:
    items, known = empty_items(8), empty_terms()
    terms = np.stack([about("same")] * 3)
    for _ in range(100):
        learn_appeal(items, known, terms, np.arange(3), np.array([False, True, False]))
    found = [appeal_of(items.appeal[item, 0], known.appeal, terms[0]) for item in range(3)]
    assert found[1] > 0.5 and found[0] == pytest.approx(found[2]) and found[0] < 0.0


@pytest.mark.parametrize("clicked", [[False, False], [True, True]])
def test_all_or_nothing_clicked_says_nothing(clicked: list[bool]) -> None:
    items, known = empty_items(4), empty_terms()
    learn_appeal(items, known, np.stack([about("a"), about("b")]), np.arange(2), np.array(clicked))
    assert not items.appeal.any() and not known.appeal.any()
