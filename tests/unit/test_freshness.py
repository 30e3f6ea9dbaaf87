"""What everybody reads just now is looked at anew when it is old, or when the news are others."""

import numpy as np
import pytest
from msgspec.structs import replace

from tests.unit.catalogues import NOW_MS, article, catalogue, history
from tests.unit.recommenders import PLAIN, click, see, shown
from worker.recommend.options import Options
from worker.recommend.recommender import Recommender
from worker.recommend.statistics import Statistics

FRESH_MS = 100
OPTIONS = Options(selection=PLAIN.selection, freshness_ms=FRESH_MS)
LATER_MS = NOW_MS - 10_000


class Clock:
    """Stands still unless it is moved."""

    now_s = 1000.0
    passes_s = 0.0
    """Whenever it is looked at."""

    def __call__(self) -> float:
        self.now_s += self.passes_s
        return self.now_s


def first(made: Recommender, now_ms: int) -> str:
    reader = see(made.catalogue, history(("a0", 1.0)))
    return shown(made.rank(*reader, now_ms, 5), made.catalogue)[0]


def made_with_clicks(options: Options) -> tuple[Recommender, Clock]:
    news = catalogue(*(article(f"a{at}", ["x"], age_h=100) for at in range(40)))
    clock = Clock()
    made = Recommender(news, Statistics(64), options, clock)
    click(made, "a1", LATER_MS, 20)
    assert first(made, LATER_MS) == "a1"
    click(made, "a2", LATER_MS, 200)
    made.statistics.num_changes += 1
    return made, clock


@pytest.mark.parametrize(
    ("news_ms", "clock_ms", "found"),
    [
        (0, 0, "a1"),
        (99, 99, "a1"),
        (100, 0, "a2"),  # a replay
        (0, 100, "a2"),  # nobody clicks
        (-1, 0, "a2"),
        (5000, 5000, "a2"),
    ],
)
def test_a_page_is_made_from_what_was_seen_lately(news_ms: int, clock_ms: int, found: str) -> None:
    made, clock = made_with_clicks(OPTIONS)
    clock.now_s += clock_ms / 1000
    assert first(made, LATER_MS + news_ms) == found


@pytest.mark.parametrize(
    ("options", "clock_s", "found"),
    [(OPTIONS, 0.35, "a1"), (OPTIONS, 0.5, "a2"), (replace(OPTIONS, freshness_ms=0), 0.0, "a2")],
)
def test_a_look_that_took_long_is_kept_for_longer_and_in_a_replay_too(
    options: Options, clock_s: float, found: str
) -> None:
    news = catalogue(*(article(f"a{at}", ["x"], age_h=100) for at in range(40)))
    clock = Clock()
    clock.passes_s = 0.05
    made = Recommender(news, Statistics(64), options, clock)
    click(made, "a1", LATER_MS, 20)
    assert first(made, LATER_MS) == "a1"
    clock.passes_s = 0.0
    click(made, "a2", LATER_MS, 200)
    made.statistics.num_changes += 1
    clock.now_s += clock_s
    assert first(made, LATER_MS + 5000) == found


def test_a_look_does_not_become_younger_by_being_used() -> None:
    made, clock = made_with_clicks(OPTIONS)
    for _ in range(2):
        clock.now_s += 0.06
        seen = first(made, LATER_MS)
    assert seen == "a2"


def test_without_patience_every_click_counts_at_once() -> None:
    assert first(made_with_clicks(PLAIN)[0], LATER_MS) == "a2"


def test_an_article_that_comes_is_seen_at_once() -> None:
    made, _ = made_with_clicks(OPTIONS)
    click(made, "new", LATER_MS, 1)  # numbered, as one that others know already
    assert first(made, LATER_MS + 1) == "a2"


def test_reasons_add_up_while_the_weights_move() -> None:
    made, _ = made_with_clicks(OPTIONS)
    made.statistics.blend.weights[:] += 0.5
    made.statistics.num_changes += 1
    reader = see(made.catalogue, history(("a0", 1.0)))
    page = made.rank(*reader, LATER_MS + 1, 5)
    sums = (page.features * page.weights).sum(axis=2)
    differences = page.scores[0] - sums[0]
    assert np.ptp(differences) == pytest.approx(0.0, abs=1e-4)


def test_what_was_seen_is_ordered_by_other_weights_as_a_new_look_would() -> None:
    made, _ = made_with_clicks(OPTIONS)
    looks, kinds = made._looks, np.array([0, 4])
    looks._last = None  # from before the latest clicks
    seen = looks.at(LATER_MS, kinds)
    orders = seen.moment.order[kinds].copy()
    rows, features = made.statistics.blend.weights.shape
    made.statistics.blend.weights[:] += np.random.default_rng(0).normal(size=(rows, features))
    assert looks.at(LATER_MS, kinds).moment is seen.moment
    looks.weigh_anew()
    weighed = looks.at(LATER_MS, kinds)
    assert weighed.moment.features is seen.moment.features
    assert not np.array_equal(weighed.moment.order[kinds], orders)
    other = Recommender(made.catalogue, made.statistics, OPTIONS)
    other.lay_out()
    new = other._looks.at(LATER_MS, kinds)
    assert np.array_equal(weighed.weights, new.weights)
    assert np.array_equal(weighed.moment.of_kind, new.moment.of_kind)
    assert np.array_equal(weighed.moment.scores[kinds], new.moment.scores[kinds])
    assert np.array_equal(weighed.moment.order[kinds], new.moment.order[kinds])
