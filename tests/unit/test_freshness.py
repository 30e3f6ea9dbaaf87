"""What everybody reads just now is looked at anew when it is old, or when the news are others."""

import numpy as np
import pytest

from tests.unit.catalogues import article, catalogue
from tests.unit.test_recommender import (
    NOW_MS,
    PLAIN,
    Recommender,
    click,
    history,
    recommender,
    see,
    shown,
)
from worker.recommend.options import Options

FRESH_MS = 100
OPTIONS = Options(selection=PLAIN.selection, freshness_ms=FRESH_MS)
LATER_MS = NOW_MS - 10_000


def first(made: Recommender, now_ms: int) -> str:
    reader = see(made.catalogue, history(("a0", 1.0)))
    return shown(made.rank(*reader, now_ms, 5), made.catalogue)[0]


def made_with_clicks(options: Options) -> Recommender:
    news = catalogue(*(article(f"a{at}", ["x"], age_h=100) for at in range(40)))
    made = recommender(news, options)
    click(made, "a1", LATER_MS, 20)
    assert first(made, LATER_MS) == "a1"
    click(made, "a2", LATER_MS, 200)
    made.statistics.num_changes += 1
    return made


@pytest.mark.parametrize(
    ("after_ms", "found"),
    [(0, "a2"), (1, "a1"), (FRESH_MS - 1, "a1"), (FRESH_MS, "a2"), (-1, "a2"), (5000, "a2")],
)
def test_a_page_is_made_from_what_was_seen_lately(after_ms: int, found: str) -> None:
    assert first(made_with_clicks(OPTIONS), LATER_MS + after_ms) == found


def test_what_changes_while_nobody_clicks_counts() -> None:
    made = made_with_clicks(OPTIONS)
    assert first(made, LATER_MS + 50) == "a1"
    assert first(made, LATER_MS + 50) == "a1"
    made.statistics.num_changes += 1  # as impressions do
    assert first(made, LATER_MS + 50) == "a2"


def test_without_patience_every_click_counts_at_once() -> None:
    assert first(made_with_clicks(PLAIN), LATER_MS) == "a2"


def test_an_article_that_comes_is_seen_at_once() -> None:
    made = made_with_clicks(OPTIONS)
    click(made, "new", LATER_MS, 1)  # numbered, as one that others know already
    assert first(made, LATER_MS + 1) == "a2"


def test_reasons_add_up_while_the_weights_move() -> None:
    made = made_with_clicks(OPTIONS)
    made.statistics.blend.weights[:] += 0.5
    made.statistics.num_changes += 1
    reader = see(made.catalogue, history(("a0", 1.0)))
    page = made.rank(*reader, LATER_MS + 1, 5)
    sums = (page.features * page.weights).sum(axis=2)
    differences = page.scores[0] - sums[0]
    assert np.ptp(differences) == pytest.approx(0.0, abs=1e-4)
