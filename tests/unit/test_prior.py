"""What is known before the first click, and how much of texts and histories is read."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from export.data import load_reader_data
from export.extent import usual_clicks, usual_tokens
from export.prior import MOST_AGE_BANDS, UNKNOWN_AGES, AgeBands, Prior, age_bands, prior_of
from schemas.reading_set import ReadingSet
from tests.tiny_sets import write_reading_set


def prior_from(path: Path, users: list[dict[str, Any]]) -> Prior:
    dataset = write_reading_set(
        path,
        articles=[{"article_id": "a", "title": "words"}],
        users=users,
        clicks=[{"user_id": user["user_id"], "article_id": "a", "timestamp": 1} for user in users],
        num_income_groups=2,
    )
    return prior_of(load_reader_data(ReadingSet(dataset)), np.arange(len(users)))


def test_the_prior_leaves_out_holes(tmp_path: Path) -> None:
    users = [
        {"user_id": "u", "age": 30, "gender": "female"},
        {"user_id": "v", "gender": "female", "income_group": 1},
    ]
    prior = prior_from(tmp_path / "set", users)
    assert prior.age_mean == 30.0
    assert prior.female == 0.75
    assert prior.income == pytest.approx([1 / 3, 2 / 3])
    assert prior.ages == AgeBands([29.5, 30.5], [30.0], [1.0])


def test_a_set_without_ages_has_bands_all_the_same(tmp_path: Path) -> None:
    prior = prior_from(tmp_path / "set", [{"user_id": "u", "gender": "female"}])
    assert prior.ages == UNKNOWN_AGES
    assert (prior.age_mean, prior.age_sd) == (40.0, 15.0)


def test_one_age_is_one_band() -> None:
    bands = age_bands(np.full(7, 33.0))
    assert bands == AgeBands([32.5, 33.5], [33.0], [1.0])
    assert bands.of(np.array([1.0, 33.0, 99.0, np.nan])).tolist()[:3] == [0.0, 0.0, 0.0]


def test_two_ages_are_two_bands_cut_between() -> None:
    bands = age_bands(np.array([20.0] * 30 + [50.0]))
    assert (bands.bounds, bands.middles) == ([19.5, 35.0, 50.5], [20.0, 50.0])
    assert bands.shares == pytest.approx([30.5 / 32, 1.5 / 32])


@pytest.mark.parametrize("number", [2, 24, 25, 3_000])
def test_bands_hold_about_as_many_readers_each(number: int) -> None:
    ages = np.round(np.random.default_rng(0).gamma(9.0, 4.0, number) + 15.0, 1)
    bands = age_bands(ages)
    band = bands.of(ages)
    sizes = np.bincount(band.astype(int), minlength=len(bands.shares))
    assert 1 <= len(bands.shares) <= MOST_AGE_BANDS
    assert sizes.min() >= 1 and sizes.max() <= max(2, 2 * number / MOST_AGE_BANDS)
    assert (np.diff(bands.bounds) > 0.0).all()
    assert sum(bands.shares) == pytest.approx(1.0)
    for number_of, middle in enumerate(bands.middles):
        assert middle == pytest.approx(ages[band == number_of].mean())
        assert bands.bounds[number_of] < middle < bands.bounds[number_of + 1]


def test_an_age_out_of_bounds_is_in_the_nearest_band() -> None:
    bands = age_bands(np.arange(20.0, 60.0))
    first, last, missing = bands.of(np.array([3.0, 101.0, np.nan]))
    assert (first, last) == (0.0, len(bands.middles) - 1.0)
    assert np.isnan(missing)


@pytest.mark.parametrize(("most", "wanted"), [(3, 16), (16, 16), (17, 32), (70, 128), (999, 256)])
def test_the_usual_clicks_are_enough_for_nine_in_ten(
    tmp_path: Path, most: int, wanted: int
) -> None:
    dataset = write_reading_set(
        tmp_path / "set",
        articles=[{"article_id": "a", "title": "words"}],
        users=[{"user_id": f"u{n}", "age": 30} for n in range(20)],
        clicks=[
            {"user_id": f"u{n}", "article_id": "a", "timestamp": step, "event_id": f"{n}-{step}"}
            for n in range(20)
            # The last reader's history is far longer than nine in ten have.
            for step in range(most if n < 19 else 1_000)
        ],
    )
    assert usual_clicks(load_reader_data(ReadingSet(dataset))) == wanted


@pytest.mark.parametrize(("words", "wanted"), [(4, 32), (32, 32), (40, 64), (900, 256)])
def test_the_usual_tokens_are_enough_for_most_articles(words: int, wanted: int) -> None:
    texts = ["word " * words] * 99 + ["word " * 5_000]
    assert usual_tokens(_Texts(texts), _Words(), 0) == wanted  # type: ignore[arg-type]


class _Texts:
    """As much of a set's data as the texts."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts


class _Words:
    """A tokenizer of which every word is a piece."""

    def encode(self, texts: list[str], num_tokens: int) -> NDArray[np.int32]:
        lengths = np.array([len(text.split()) for text in texts])
        return (np.arange(num_tokens) < lengths[:, None]).astype(np.int32)
