"""The figures of an evaluation, and the tag affinities, against numbers worked out by hand."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from export.data import load_reader_data
from export.metrics import (
    Figure,
    Resampled,
    age_figures,
    auc_of,
    correlation_of,
    gender_figures,
    income_figures,
    mean_of,
    resample,
    resampled_figures,
    with_interval,
)
from export.tag_affinity import learn_tag_affinity
from schemas.reading_set import ReadingSet
from tests.tiny_sets import write_easy_set, write_reading_set


def value_of(figure: Figure, size: int) -> float:
    return float(figure(np.ones((1, size)))[0])


def of_resamples(figure: Figure, size: int) -> Resampled:
    return resample({"it": figure}, size)["it"]


def test_area_under_curve_counts_pairs() -> None:
    rng = np.random.default_rng(0)
    label, score = rng.integers(0, 2, 60), rng.integers(0, 9, 60) / 9.0
    wins = [
        1.0 if a > b else 0.5 if a == b else 0.0
        for a in score[label == 1]
        for b in score[label == 0]
    ]
    assert value_of(auc_of(label, score), 60) == pytest.approx(np.mean(wins))


@pytest.mark.parametrize("name", ["auc", "log_loss", "ece", "accuracy", "mae", "r", "coverage80"])
def test_a_weight_stands_for_that_many_readers(name: str) -> None:
    """A resample by weights gives what the repeated readers themselves give."""
    rng = np.random.default_rng(5)
    label, score = rng.integers(0, 2, 50), rng.integers(0, 20, 50) / 20.0
    age, years, sd = rng.normal(40, 9, 50), rng.normal(40, 9, 50), rng.uniform(1, 9, 50)
    times = rng.integers(0, 3, 50)

    def figures(kept: NDArray[np.int64]) -> dict[str, Figure]:
        ages = age_figures(age[kept], years[kept], sd[kept])
        return {**gender_figures(label[kept], score[kept]), **ages}

    weighted = figures(np.arange(50))[name](times[None, :].astype(np.float64))
    repeated = np.repeat(np.arange(50), times)
    assert weighted[0] == pytest.approx(value_of(figures(repeated)[name], len(repeated)))


def test_gender_log_loss_is_in_nats() -> None:
    figures = gender_figures(np.array([1, 0]), np.array([0.5, 0.5]))
    assert value_of(figures["log_loss"], 2) == pytest.approx(np.log(2.0))


def test_gender_calibration_error_is_of_the_probability_of_a_woman() -> None:
    label = np.array([1, 1, 1, 0, 0, 0, 0, 0])
    female = np.array([0.92, 0.94, 0.94, 0.96, 0.25, 0.25, 0.25, 0.25])
    # Four in the bin from 0.9: 0.94 predicted, 0.75 observed; four in that from 0.2: 0.25 and 0.
    got = value_of(gender_figures(label, female)["ece"], 8)
    assert got == pytest.approx(0.5 * (0.94 - 0.75) + 0.5 * 0.25)


def test_income_calibration_error_is_of_the_most_probable_group() -> None:
    probabilities = np.array([[0.65, 0.35], [0.62, 0.38], [0.1, 0.9]])
    got = value_of(income_figures(np.array([0, 1, 0]), probabilities)["ece"], 3)
    assert got == pytest.approx((abs(0.65 + 0.62 - 1.0) + 0.9) / 3.0)


def test_age_coverage_is_of_the_central_80_percent() -> None:
    rng = np.random.default_rng(1)
    age = rng.normal(40.0, 10.0, 20_000)
    figures = age_figures(age, np.full(20_000, 40.0), np.full(20_000, 10.0))
    assert value_of(figures["coverage80"], 20_000) == pytest.approx(0.8, abs=0.01)


def test_age_r_is_pearson_s() -> None:
    rng = np.random.default_rng(3)
    age = rng.normal(40.0, 10.0, 90)
    years = 0.5 * age + rng.normal(20.0, 6.0, 90)
    got = value_of(age_figures(age, years, np.ones(90))["r"], 90)
    assert got == pytest.approx(np.corrcoef(age, years)[0, 1])


def test_a_constant_explains_nothing_of_age() -> None:
    figures = age_figures(np.array([20.0, 60.0]), np.full(2, 40.1), np.full(2, 9.0))
    assert value_of(figures["r"], 2) == 0.0
    assert value_of(figures["mae"], 2) == pytest.approx(20.0)


def test_income_log_loss_reads_the_group_s_probability() -> None:
    figures = income_figures(np.array([0, 1]), np.array([[0.25, 0.75], [0.5, 0.5]]))
    assert value_of(figures["log_loss"], 2) == pytest.approx((np.log(4.0) + np.log(2.0)) / 2.0)


def test_an_interval_covers_the_value_and_is_the_same_every_time() -> None:
    values = np.random.default_rng(2).normal(size=300)
    got = with_interval(of_resamples(mean_of(values), 300))
    assert got["low"] < got["value"] < got["high"]  # type: ignore[operator]
    assert got["high"] - got["low"] == pytest.approx(2 * 1.96 / np.sqrt(300), rel=0.2)  # type: ignore[operator]
    assert got == with_interval(of_resamples(mean_of(values), 300))


def test_many_readers_are_resampled_in_parts() -> None:
    values = np.random.default_rng(2).normal(size=30_000)
    got = of_resamples(mean_of(values), 30_000)
    assert got.samples.shape == (500,)
    assert got.samples.std() == pytest.approx(1 / np.sqrt(30_000), rel=0.15)


def test_the_interval_of_a_calibration_error_covers_it() -> None:
    """Resampling alone would put all of it above: gaps add up, whatever their sign."""
    rng = np.random.default_rng(4)
    female = rng.uniform(0.0, 1.0, 150)
    label = (rng.uniform(0.0, 1.0, 150) < female).astype(np.int64)
    got = with_interval(of_resamples(gender_figures(label, female)["ece"], 150), "ece")
    assert 0.0 <= got["low"] < got["value"] < got["high"]  # type: ignore[operator]


def test_an_undefined_figure_is_null() -> None:
    everyone_a_woman = of_resamples(auc_of(np.ones(4, dtype=np.int64), np.ones(4)), 4)
    one_age = of_resamples(correlation_of(np.array([1.0, 2.0]), np.array([30.0, 30.0])), 2)
    nothing = {"value": None, "low": None, "high": None}
    assert with_interval(everyone_a_woman) == with_interval(one_age) == nothing


def test_a_head_without_labels_has_null_figures() -> None:
    labels = {"age": np.full(3, np.nan), "income": np.full(3, -1), "gender": np.array([0, 1, 1])}
    found = resampled_figures(
        labels, np.zeros(3), np.ones(3), np.full((3, 2), 0.5), np.full(3, 0.5)
    )
    got = {
        head: {name: with_interval(figure, name) for name, figure in figures.items()}
        for head, figures in found.items()
    }
    assert set(got) == {"gender", "age", "income"}
    assert set(got["age"]) == {"mae", "r", "coverage80"}
    assert got["income"]["ece"] == {"value": None, "low": None, "high": None}
    assert got["gender"]["auc"]["value"] == 0.5


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
