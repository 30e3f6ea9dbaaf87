"""What a model is measured beside: the constant and the bag of words; and what each reads."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from export.baseline import WORDS, Baseline
from export.batches import newest_clicks
from export.data import ReaderData, load_reader_data
from export.evaluation.constant import Constant
from schemas.reading_set import ReadingSet
from tests.known_readers import Oracle, labelled_set
from tests.tiny_sets import write_easy_set


@pytest.fixture(scope="module")
def easy(tmp_path_factory: pytest.TempPathFactory) -> ReaderData:
    return load_reader_data(ReadingSet(write_easy_set(tmp_path_factory.mktemp("set") / "easy")))


def test_the_constant_is_of_the_set_s_own_training_readers(tmp_path: Path) -> None:
    ages = (20, 30, 70)
    users = [
        {"user_id": f"u{n}", "age": age, "gender": "female", "split": "train"}
        for n, age in enumerate(ages)
    ]
    data = labelled_set(tmp_path / "set", users)
    constant = Constant(data, Oracle(data.income_groups).manifest)
    assert constant.age_years == 30.0
    assert constant.age_sd == pytest.approx(np.sqrt((100 + 0 + 1600) / 3))
    assert constant.female == pytest.approx(4 / 5)
    assert constant.income.tolist() == [0.8, 0.2]  # no labels here: the bundle's


def test_baseline_words_are_characters_where_there_are_no_spaces() -> None:
    assert re.findall(WORDS, "the 3 cats 开放世界 und Äpfel2 a_b") == [
        "the", "cats", "开", "放", "世", "界", "und", "Äpfel2", "a_b",
    ]  # fmt: skip


def test_the_baseline_is_the_same_every_time(easy: ReaderData) -> None:
    readers = easy.readers_of("test")
    one, two = (Baseline(easy).estimate(easy, readers) for _ in range(2))
    for name in ("age_years", "age_sd", "income", "female"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_the_baseline_s_probabilities_sum_to_one_with_a_group_nobody_is_in(
    tmp_path: Path,
) -> None:
    users = [
        {"user_id": f"u{n}", "income_group": n % 2, "split": ("train", "valid")[n // 2 % 2]}
        for n in range(16)
    ]
    labelled = labelled_set(tmp_path / "set", users)
    data = replace(labelled, income_groups=[*labelled.income_groups, "never seen"])
    got = Baseline(data).estimate(data, data.readers_of("valid"))
    np.testing.assert_allclose(got.income.sum(1), 1.0, rtol=1e-5)
    assert (got.income[:, 2] > 0.0).all()


def test_a_baseline_of_some_readers_learns_too(easy: ReaderData) -> None:
    readers = easy.readers_of("test")
    got = Baseline(easy, most_readers=20).estimate(easy, readers)
    assert ((got.female > 0.5) == (easy.gender[readers] == 1)).mean() > 0.9


def test_the_baseline_reads_the_first_clicks_only(easy: ReaderData) -> None:
    readers, baseline = easy.readers_of("test"), Baseline(easy)
    none, all_six = baseline.estimate(easy, readers, 0), baseline.estimate(easy, readers, 6)
    assert np.ptp(none.female) == 0.0
    np.testing.assert_array_equal(all_six.female, baseline.estimate(easy, readers).female)


def test_a_set_without_words_has_a_baseline(tmp_path: Path) -> None:
    users = [{"user_id": f"u{n}", "age": 20.0 + n, "split": "train"} for n in range(4)]
    data = replace(labelled_set(tmp_path / "set", users), texts=[""] * 30)
    assert Baseline(data).estimate(data, data.readers_of("train")).age_years == pytest.approx(21.5)


def test_a_window_is_of_the_first_clicks_newest_first(easy: ReaderData) -> None:
    reader = np.array([3])
    everything = easy.clicks[easy.offsets[3] : easy.offsets[4]]
    clicks = newest_clicks(easy, reader, limit=3, num_clicks=5)
    assert clicks.articles[0].tolist() == everything[4:1:-1].tolist()
    assert clicks.ages_hours[0].tolist() == [0.0, 1.0, 2.0]


def test_a_window_without_clicks_is_masked(easy: ReaderData) -> None:
    clicks = newest_clicks(easy, easy.readers_of("test"), limit=8, num_clicks=0)
    assert clicks.mask.shape == (30, 1) and not clicks.mask.any()
