"""Figures of pages, impressions and intervals against numbers computed by hand or by force."""

from itertools import permutations
from math import log, log2

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.tiny_streams import stream_of
from worker.stream_evaluation.audience import Audience
from worker.stream_evaluation.bootstrap import coverage, means
from worker.stream_evaluation.metrics import impression_figures, rank_figures
from worker.stream_evaluation.pages import PageFigures, PageMeter


def test_ranks_count_from_the_top_and_halves_lie_between() -> None:
    figures = rank_figures(np.array([0.0, 9.0, 9.5, 10.0, 0.5]))
    assert figures[:, 0].tolist() == [1, 1, 1, 0, 1]
    assert figures[1, 1:].tolist() == pytest.approx([1 / 10, 1 / log2(11)])
    assert figures[3].tolist() == [0, 0, 0]
    assert figures[4, 1:].tolist() == pytest.approx([1 / 1.5, 1 / log2(2.5)])


def published_figures(scores: NDArray[np.float64], clicked: NDArray[np.float64]) -> list[float]:
    """Follow MIND's published evaluation, for scores without ties."""
    order = np.argsort(scores)[::-1]
    labels = clicked[order]

    def dcg(gains: NDArray[np.float64], k: int) -> float:
        return float(np.sum((2 ** gains[:k] - 1) / np.log2(np.arange(len(gains[:k])) + 2)))

    ideal = np.sort(clicked)[::-1]
    pairs = [float(one > other) for one in scores[clicked == 1] for other in scores[clicked == 0]]
    return [
        float(np.mean(pairs)),
        float(np.sum(labels / (np.arange(len(labels)) + 1)) / labels.sum()),
        dcg(labels, 5) / dcg(ideal, 5),
        dcg(labels, 10) / dcg(ideal, 10),
    ]


def test_impressions_without_ties_are_measured_as_published() -> None:
    rng = np.random.default_rng(0)
    for size in (2, 5, 6, 11, 30):
        clicked = np.zeros(size)
        clicked[: max(1, size // 3)] = 1.0
        scores = rng.permutation(size).astype(np.float64)
        found = impression_figures(scores, clicked)
        assert found.tolist() == pytest.approx(published_figures(scores, clicked))


def test_ties_count_as_the_mean_over_all_their_orders() -> None:
    scores = np.array([2.0, 1.0, 1.0, 1.0, 0.0, 0.0])
    clicked = np.array([0.0, 1.0, 0.0, 0.0, 1.0, 0.0])
    broken = [
        published_figures(scores + 0.01 * np.array(order), clicked)
        for order in permutations(range(len(scores)))
    ]
    expected = np.mean(broken, axis=0)
    assert impression_figures(scores, clicked).tolist() == pytest.approx(expected.tolist())


def test_the_listed_order_of_equal_candidates_does_not_matter() -> None:
    first = impression_figures(np.zeros(4), np.array([1.0, 0.0, 0.0, 0.0]))
    last = impression_figures(np.zeros(4), np.array([0.0, 0.0, 0.0, 1.0]))
    assert first.tolist() == last.tolist()
    assert first[0] == 0.5


def page_figures(page: list[int], clicked: list[int], tags: list[tuple[str, ...]]) -> PageFigures:
    stream = stream_of([], num_articles=len(tags), tags=tags)
    audience = Audience(stream.published_ms)
    for article in clicked:
        audience.add(0, article)
    return PageMeter(stream).measure(np.array(page, dtype=np.int64), 0, audience)


def test_novelty_is_the_mean_surprise_in_bits() -> None:
    found = page_figures([0, 1], [0, 2], [(), (), (), ()])
    # (1 + 1) / (2 + 4) and (0 + 1) / (2 + 4)
    assert found.novelty == pytest.approx((log2(3) + log2(6)) / 2)
    assert np.isnan(found.diversity)
    assert np.isnan(found.calibration)


def test_diversity_is_the_mean_over_pairs_of_tagged_articles() -> None:
    tags = [("x", "y"), ("y", "z"), ("x", "y"), ()]
    # Pairs: 1/3 in common, all in common, 1/3 in common; the untagged one is in no pair.
    found = page_figures([0, 1, 2, 3], [], tags)
    assert found.diversity == pytest.approx((2 / 3 + 0 + 2 / 3) / 3)
    assert np.isnan(page_figures([0, 3], [], tags).diversity)


def test_calibration_is_the_divergence_from_the_smoothed_page() -> None:
    tags = [("x",), ("x", "y"), ("z",)]
    # The reader: x 3/4, y 1/4. The page: x 1/2, z 1/2.
    found = page_figures([0, 2], [0, 1], tags)
    x, y = 0.99 / 2 + 0.01 * 3 / 4, 0.01 / 4
    expected = 3 / 4 * log(3 / 4 / x) + 1 / 4 * log(1 / 4 / y)
    assert found.calibration == pytest.approx(expected)
    assert page_figures([0, 1], [0, 1], tags).calibration == pytest.approx(0.0)
    assert np.isnan(page_figures([0, 1], [], tags).calibration)


def test_a_meter_forgets_one_page_before_the_next() -> None:
    stream = stream_of([], num_articles=2, tags=[("x",), ("y",)])
    audience, meter = Audience(stream.published_ms), PageMeter(stream)
    audience.add(0, 0)
    audience.add(1, 1)
    page = np.array([0, 1], dtype=np.int64)
    first = meter.measure(page, 0, audience)
    meter.measure(np.array([1], dtype=np.int64), 1, audience)
    assert meter.measure(page, 0, audience) == first


def test_means_are_of_rows_and_intervals_of_readers() -> None:
    # Reader 0 has nine rows of 1, reader 1 one row of 0: a resample holds both, or one of them.
    users = np.array([0] * 9 + [1])
    (figure,) = means(users, np.array([[1.0]] * 9 + [[0.0]]))
    assert figure == {"value": 0.9, "low": 0.0, "high": 1.0}


def test_rows_that_do_not_count_leave_a_mean_alone() -> None:
    users = np.array([0, 0, 1])
    columns = np.array([[1.0, np.nan], [np.nan, np.nan], [3.0, np.nan]])
    one, nothing = means(users, columns)
    assert (one["value"], one["low"], one["high"]) == (2.0, 1.0, 3.0)
    assert nothing == {"value": None, "low": None, "high": None}


def test_intervals_hold_the_mean_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    users = np.repeat(np.arange(40), 5)
    held = 0
    for _ in range(200):
        values = np.repeat(rng.normal(size=40), 5) + 0.1 * rng.normal(size=200)
        (figure,) = means(users, values[:, None], num_resamples=200)
        assert figure["low"] is not None
        assert figure["high"] is not None
        held += figure["low"] <= 0.0 <= figure["high"]
    assert 0.88 <= held / 200 <= 0.99


def test_coverage_counts_served_articles_once_and_lies_in_its_interval() -> None:
    users = np.arange(50)
    pages = np.stack([np.arange(50) % 20, np.full(50, -1)], axis=1)
    figure = coverage(users, pages, num_known=40)
    assert figure["value"] == 0.5
    assert figure["low"] is not None
    assert figure["high"] is not None
    assert 0.4 < figure["low"] < 0.5 < figure["high"] <= 1.0
