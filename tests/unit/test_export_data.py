"""A reading set becomes arrays: in order, without duplicates, with holes for missing labels."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.batches import (
    FEW_CLICKS_SHARE,
    NO_CLICKS_SHARE,
    PREFIX_SHARE,
    TwoStageBatches,
    newest_clicks,
    sampled_clicks,
    shuffled,
)
from export.data import MISSING, SPLITS, ReaderData, load_reader_data, reader_tokens
from export.linear_fit import LinearFit
from schemas.errors import TrainingError
from schemas.reading_set import ReadingSet, split_of
from tests.small_networks import made_up_fit
from tests.tiny_sets import write_reading_set

ARTICLES = [{"article_id": name, "title": name, "body": f"text of {name}"} for name in "abc"]
HOUR_MS = 3_600_000


def click(user: str, article: str, hour: int, **more: Any) -> dict[str, Any]:
    return {"user_id": user, "article_id": article, "timestamp": hour * HOUR_MS, **more}


def load(
    tmp_path: Path, users: list[dict[str, Any]], clicks: list[dict[str, Any]], **info: Any
) -> ReaderData:
    path = write_reading_set(
        tmp_path / "set", articles=ARTICLES, users=users, clicks=clicks, **info
    )
    return load_reader_data(ReadingSet(path))


def test_clicks_are_in_time_order(tmp_path: Path) -> None:
    data = load(tmp_path, [{"user_id": "u", "age": 30}], [click("u", "b", 9), click("u", "a", 2)])
    assert data.clicks.tolist() == [0, 1]
    assert data.hours.tolist() == [2.0, 9.0]


def test_a_repeated_click_counts_once(tmp_path: Path) -> None:
    clicks = [click("u", "a", 1, event_id="e"), click("u", "a", 1, event_id="e")]
    data = load(tmp_path, [{"user_id": "u", "age": 30}], clicks)
    assert len(data.clicks) == 1
    assert data.dropped == {"repeated clicks": 1}


def test_what_cannot_be_used_is_dropped_and_counted(tmp_path: Path) -> None:
    users = [{"user_id": "u", "gender": "female"}, {"user_id": "blank"}, {"user_id": "v", "age": 9}]
    clicks = [
        click("u", "a", 1),
        click("u", "nowhere", 2),
        click("blank", "a", 3),
        click("u", "b", 4, consent=False),
        click("u", "c", -5),
    ]
    data = load(tmp_path, users, clicks)
    assert data.user_ids == ["u"]
    assert data.dropped == {
        "clicks of readers without a label": 1,
        "clicks on unknown articles": 1,
        "clicks outside the years 1970-9999": 1,
        "clicks without consent": 1,
        "labelled readers without clicks": 1,
        "readers without a label": 1,
    }


def test_missing_and_impossible_labels_are_holes(tmp_path: Path) -> None:
    users = [
        {"user_id": "u", "gender": "female", "age": 400},
        {"user_id": "v", "age": 30, "income_group": 7},
    ]
    data = load(tmp_path, users, [click("u", "a", 1), click("v", "a", 1)], num_income_groups=5)
    assert np.isnan(data.age).tolist() == [True, False]
    assert data.income.tolist() == [MISSING, MISSING]
    assert data.gender.tolist() == [1, MISSING]


def test_a_reader_without_a_split_gets_a_lasting_one(tmp_path: Path) -> None:
    users = [{"user_id": "u", "age": 30}, {"user_id": "v", "age": 30, "split": "test"}]
    data = load(tmp_path, users, [click("u", "a", 1), click("v", "a", 1)])
    assert [SPLITS[split] for split in data.split] == [split_of("u"), "test"]


def test_hashed_splits_are_near_their_shares() -> None:
    splits = [split_of(f"user-{number}") for number in range(4_000)]
    assert splits.count("train") / 4_000 == pytest.approx(0.7, abs=0.03)
    assert splits.count("test") / 4_000 == pytest.approx(0.15, abs=0.03)


def test_nothing_usable_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no reader has both a label and a click"):
        load(tmp_path, [{"user_id": "u"}], [click("u", "a", 1)])


def test_the_newest_clicks_come_first_with_their_ages(tmp_path: Path) -> None:
    clicks = [click("u", "a", 1), click("u", "b", 5), click("u", "c", 7), click("v", "a", 2)]
    users = [{"user_id": "u", "age": 30}, {"user_id": "v", "age": 30}]
    batch = newest_clicks(load(tmp_path, users, clicks), np.array([0, 1]), limit=2)
    assert batch.articles.tolist() == [[2, 1], [0, 0]]
    assert batch.ages_hours.tolist() == [[0.0, 2.0], [0.0, 0.0]]
    assert batch.mask.tolist() == [[1.0, 1.0], [1.0, 0.0]]


def test_sampled_clicks_are_a_reader_s_own_and_within_the_limit(tmp_path: Path) -> None:
    users = [{"user_id": "u", "age": 30}, {"user_id": "v", "age": 30}]
    clicks = [click("u", "abc"[hour % 2], hour) for hour in range(9)] + [click("v", "c", 3)]
    data = load(tmp_path, users, clicks)
    rng = np.random.default_rng(0)
    for _ in range(50):
        batch = sampled_clicks(data, np.array([0, 1]), 4, rng)
        held = batch.mask.sum(1)
        assert held[0] <= 4 and held[1] <= 1
        assert set(batch.articles[0][batch.mask[0] > 0]) <= {0, 1}
        assert (np.diff(batch.ages_hours[0][batch.mask[0] > 0]) >= 0).all()


def long_history(tmp_path: Path) -> ReaderData:
    """A reader who clicked once an hour: a click's hour is its place in the history."""
    clicks = [click("u", "abc"[hour % 3], hour) for hour in range(40)]
    clicks += [click("v", "a", 0)]
    return load(tmp_path, [{"user_id": "u", "age": 30}, {"user_id": "v", "age": 30}], clicks)


def ages(data: ReaderData, limit: int, times: int = 300) -> list[list[int]]:
    """Return the hours before the newest click, of the long history's samples."""
    rng = np.random.default_rng(1)
    batches = [sampled_clicks(data, np.array([0, 1]), limit, rng) for _ in range(times)]
    return [batch.ages_hours[0][batch.mask[0] > 0].astype(int).tolist() for batch in batches]


def test_some_samples_are_a_prefix_s_newest_clicks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = long_history(tmp_path)
    monkeypatch.setattr("export.batches.NO_CLICKS_SHARE", 0.0)
    monkeypatch.setattr("export.batches.PREFIX_SHARE", 1.0)
    monkeypatch.setattr("export.batches.FEW_CLICKS_SHARE", 0.0)
    drawn = ages(data, 5)
    assert all(sample == list(range(len(sample))) for sample in drawn)
    assert {len(sample) for sample in drawn} == {1, 2, 3, 4, 5}
    rng = np.random.default_rng(1)
    newest = []
    for _ in range(300):
        batch = sampled_clicks(data, np.array([0]), 5, rng)
        newest.append((int(batch.articles[0, 0]), int(batch.mask.sum())))
    # A full window ends anywhere, not only with the reader's newest click, which is on "a".
    assert {article for article, held in newest if held == 5} == {0, 1, 2}


def test_other_samples_are_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.batches.NO_CLICKS_SHARE", 0.0)
    monkeypatch.setattr("export.batches.PREFIX_SHARE", 0.0)
    data = long_history(tmp_path)
    monkeypatch.setattr("export.batches.FEW_CLICKS_SHARE", 0.0)
    drawn = ages(data, 5)
    assert {len(sample) for sample in drawn} == {5}
    assert any(sample != list(range(5)) for sample in drawn)
    monkeypatch.setattr("export.batches.FEW_CLICKS_SHARE", 1.0)
    assert {len(sample) for sample in ages(data, 5)} == {1, 2, 3, 4, 5}


def test_every_click_is_drawn_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.batches.PREFIX_SHARE", 0.0)
    clicks = [click("u", name, hour) for hour, name in enumerate("abc")]
    data = load(tmp_path, [{"user_id": "u", "age": 30}], clicks)
    rng = np.random.default_rng(2)
    seen = np.zeros(3)
    for _ in range(2_000):
        batch = sampled_clicks(data, np.array([0]), 1, rng)
        seen[batch.articles[batch.mask > 0]] += 1
    assert seen / seen.sum() == pytest.approx([1 / 3] * 3, abs=0.04)


def test_the_shares_of_samples_are_as_they_say(tmp_path: Path) -> None:
    data = long_history(tmp_path)
    sizes = np.array([len(sample) for sample in ages(data, 30, times=4_000)])
    assert (sizes == 0).mean() == pytest.approx(NO_CLICKS_SHARE, abs=0.01)
    long_prefixes = PREFIX_SHARE * (1.0 - np.log(30.0) / np.log(41.0))
    few = FEW_CLICKS_SHARE * (1.0 - np.log(30.0) / np.log(31.0))
    rest = 1.0 - NO_CLICKS_SHARE - PREFIX_SHARE - FEW_CLICKS_SHARE
    assert (sizes == 30).mean() == pytest.approx(rest + long_prefixes + few, abs=0.03)


def test_the_share_of_a_batch_draws_the_same_chance(tmp_path: Path) -> None:
    data = long_history(tmp_path)
    readers = np.array([0, 1, 0, 0])
    whole, part = (
        sampled_clicks(data, readers, 6, np.random.default_rng(8), share)
        for share in (slice(None), slice(2, 4))
    )
    width = part.articles.shape[1]
    assert (whole.articles[2:, :width] == part.articles).all()
    assert (whole.ages_hours[2:, :width] == part.ages_hours).all()
    assert whole.mask[2:, width:].sum() == 0


def test_each_article_of_a_batch_is_encoded_once(tmp_path: Path) -> None:
    users = [{"user_id": "u", "age": 30}, {"user_id": "v", "age": 30}]
    data = load(tmp_path, users, [click(user, "c", hour) for hour in range(3) for user in "uv"])
    tokens = np.array([[5, 0, 0], [6, 7, 0], [8, 9, 0]], dtype=np.int32)
    batches = TwoStageBatches(data, tokens, 8, scored(data))
    distinct, rows, _, mask, _ = batches.newest(np.array([0, 1]))
    assert distinct.tolist() == [[8, 9]]
    assert (distinct[rows[mask > 0]] == [8, 9]).all()


def scored(data: ReaderData) -> LinearFit:
    """Scores that say which fit and which article they are of: 10 · fold + article."""
    scores = 10.0 * np.arange(3)[:, None, None] + np.arange(len(data.texts))[:, None]
    return replace(
        made_up_fit(),
        scores=scores.astype(np.float32),
        fold=np.arange(len(data.user_ids)) % 2,
    )


def test_a_training_sample_has_the_scores_of_the_reader_s_fold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.batches.NO_CLICKS_SHARE", 0.0)
    users = [{"user_id": "u", "age": 30}, {"user_id": "v", "age": 30}]
    data = load(tmp_path, users, [click("u", "b", 1), click("v", "c", 1), click("v", "a", 0)])
    batches = TwoStageBatches(data, np.ones((3, 4), dtype=np.int32), 8, scored(data))
    rng = np.random.default_rng(0)
    for _ in range(20):
        *_, mask, scores = batches.sample(np.array([1, 0]), rng)
        held = scores[..., 0][mask > 0]
        assert scores.shape == (*mask.shape, 1) and not scores[mask == 0].any()
        assert set(held[:-1]) <= {12.0, 10.0}, "the second reader's, by fold 1"
        assert held[-1] == 1.0, "the first reader's, by fold 0"
    *_, mask, scores = batches.sample(np.array([1, 0]), rng, slice(1, 2))
    assert scores[mask > 0].tolist() == [[1.0]]


def test_the_newest_clicks_have_the_scores_that_a_reader_is_judged_by(tmp_path: Path) -> None:
    users = [{"user_id": "u", "age": 30}, {"user_id": "v", "age": 30}]
    data = load(tmp_path, users, [click("u", "b", 1), click("v", "c", 1), click("v", "a", 0)])
    fit = replace(scored(data), fold=np.array([1, 2]))
    batches = TwoStageBatches(data, np.ones((3, 4), dtype=np.int32), 8, fit)
    assert batches.newest(np.array([0, 1]))[4].tolist() == [[[11.0], [0.0]], [[22.0], [20.0]]]
    assert batches.newest(np.array([1]), 1)[4].tolist() == [[[20.0]]], "of the first click only"


def test_a_reader_s_tokens_are_cut_in_the_middle_of_an_article() -> None:
    tokens = np.array([[5, 6, 7], [8, 9, 0]], dtype=np.int32)
    assert reader_tokens(tokens, np.array([1, 0]), 4).tolist() == [8, 9, 5, 6]


def test_shuffling_keeps_everyone_and_leaves_nobody_alone() -> None:
    parts = list(shuffled(np.arange(9), 4, np.random.default_rng(0)))
    assert sorted(np.concatenate(parts)) == list(range(9))
    assert min(map(len, parts)) > 1
