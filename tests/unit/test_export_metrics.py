"""The figures of an evaluation, and the tag affinities, against numbers worked out by hand."""

from pathlib import Path

import numpy as np
import pytest

from export.data import load_reader_data
from export.metrics import (
    age_figures,
    all_figures,
    area_under_curve,
    gender_figures,
    income_figures,
    with_interval,
)
from export.tag_affinity import learn_tag_affinity
from schemas.reading_set import ReadingSet
from tests.tiny_sets import write_easy_set, write_reading_set


def everyone(size: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.arange(size)


def test_area_under_curve_counts_pairs() -> None:
    rng = np.random.default_rng(0)
    label, score = rng.integers(0, 2, 60), rng.integers(0, 9, 60) / 9.0
    wins = [
        1.0 if a > b else 0.5 if a == b else 0.0
        for a in score[label == 1]
        for b in score[label == 0]
    ]
    assert area_under_curve(label, score) == pytest.approx(np.mean(wins))


def test_gender_log_loss_is_in_nats() -> None:
    figures = gender_figures(np.array([1, 0]), np.array([0.5, 0.5]))
    assert figures["log_loss"](everyone(2)) == pytest.approx(np.log(2.0))


def test_age_coverage_is_of_the_central_80_percent() -> None:
    rng = np.random.default_rng(1)
    age = rng.normal(40.0, 10.0, 20_000)
    figures = age_figures(age, np.full(20_000, 40.0), np.full(20_000, 10.0))
    assert figures["coverage80"](everyone(20_000)) == pytest.approx(0.8, abs=0.01)


def test_a_constant_explains_nothing_of_age() -> None:
    figures = age_figures(np.array([20.0, 60.0]), np.full(2, 40.0), np.full(2, 9.0))
    assert figures["r"](everyone(2)) == 0.0
    assert figures["mae"](everyone(2)) == 20.0


def test_income_log_loss_reads_the_group_s_probability() -> None:
    figures = income_figures(np.array([0, 1]), np.array([[0.25, 0.75], [0.5, 0.5]]))
    assert figures["log_loss"](everyone(2)) == pytest.approx((np.log(4.0) + np.log(2.0)) / 2.0)


def test_an_interval_covers_the_value_and_is_the_same_every_time() -> None:
    values = np.random.default_rng(2).normal(size=300)
    got = with_interval(lambda chosen: float(values[chosen].mean()), 300)
    assert got["low"] < got["value"] < got["high"]  # type: ignore[operator]
    assert got["high"] - got["low"] == pytest.approx(2 * 1.96 / np.sqrt(300), rel=0.2)  # type: ignore[operator]
    assert got == with_interval(lambda chosen: float(values[chosen].mean()), 300)


def test_an_undefined_figure_is_null() -> None:
    label, score = np.ones(4, dtype=np.int64), np.ones(4)
    got = with_interval(lambda chosen: area_under_curve(label[chosen], score[chosen]), 4)
    assert got == {"value": None, "low": None, "high": None}


def test_a_head_without_labels_has_no_figures() -> None:
    labels = {"age": np.full(3, np.nan), "income": np.full(3, -1), "gender": np.array([0, 1, 1])}
    got = all_figures(labels, np.zeros(3), np.ones(3), np.full((3, 2), 0.5), np.full(3, 0.5))
    assert set(got) == {"gender"}


def test_a_segment_lifts_the_tags_it_reads(tmp_path: Path) -> None:
    data = load_reader_data(ReadingSet(write_easy_set(tmp_path / "set")))
    affinity = learn_tag_affinity(data, max_clicks=64)
    play = affinity.tags.index("play")
    woman, man = affinity.gender
    assert man[play] > 0.3 and woman[play] < -0.3
    assert len(affinity.age) == len(affinity.age_bounds) + 1
    assert affinity.age[2][play] == 0.0  # nobody of that age: no evidence, no lift


def test_affinity_keeps_the_most_read_tags_of_training_readers(tmp_path: Path) -> None:
    path = write_reading_set(
        tmp_path / "set",
        articles=[
            {"article_id": "x", "tags": ["often", "rare"]},
            {"article_id": "y", "tags": ["often"]},
            {"article_id": "z", "tags": ["unseen"]},
        ],
        users=[
            {"user_id": "u", "age": 30, "split": "train"},
            {"user_id": "v", "age": 30, "split": "test"},
        ],
        clicks=[
            {"user_id": "u", "article_id": "x", "timestamp": 1},
            {"user_id": "u", "article_id": "y", "timestamp": 2},
            {"user_id": "v", "article_id": "z", "timestamp": 3},
        ],
    )
    data = load_reader_data(ReadingSet(path))
    assert learn_tag_affinity(data, max_clicks=64).tags == ["often", "rare"]
    assert learn_tag_affinity(data, max_clicks=64, max_tags=1).tags == ["often"]
