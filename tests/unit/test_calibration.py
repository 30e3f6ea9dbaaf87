"""Calibration: how far heads of known quality are trusted, and how wide an age becomes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.batches import Inputs
from export.calibration import (
    LEAST_TRUST,
    Calibration,
    Trust,
    _trust,
    _width,
    age_estimate,
    calibrate,
)
from export.data import Ints, ReaderData
from export.heads import TWO_STAGE_WEIGHTS, HeadOutputs
from export.prior import AgeBands, Prior, age_bands
from export.schedule import Task
from export.two_stage import ArticleEncoder, ProfileHead, TwoStageModel
from tests.expected import median_and_sd
from tests.known_readers import labelled_set

NUM_READERS = 600
Arrays = NDArray[np.float64]


class Known(ProfileHead):
    """A head whose evidence stands in the scores of the newest click: age, income, gender."""

    def evidence(self, vectors: Tensor, ages_hours: Tensor, mask: Tensor) -> HeadOutputs:  # noqa: ARG002
        first = vectors[:, 0]
        return HeadOutputs(
            first[:, : self.bands], first[:, self.bands :][:, :2], first[:, self.bands + 2]
        )


class Nothing(nn.Module):
    """An encoder that reads nothing."""

    def forward(self, tokens: Tensor) -> Tensor:
        return torch.zeros(len(tokens), 1)


class Evidence:
    """Batches that carry the evidence of each reader."""

    def __init__(self, evidence: Arrays) -> None:
        self._evidence = evidence.astype(np.float32)
        self.asked: list[int | None] = []

    def newest(self, readers: Ints, num_clicks: int | None = None) -> Inputs:
        self.asked.append(num_clicks)
        rows = np.zeros((len(readers), 1), dtype=np.int64)
        ages = np.zeros(rows.shape, dtype=np.float32)
        tokens = np.ones((1, 1), dtype=np.int32)
        return tokens, rows, ages, ages + 1, self._evidence[readers][:, None]

    def sample(self, *_: object) -> Inputs:
        raise NotImplementedError


class Readers:
    """Readers on valid whose labels follow evidence of a known strength."""

    def __init__(self, path: Path, num: int = NUM_READERS, num_clicks: int = 1) -> None:
        rng = np.random.default_rng(0)
        age = rng.normal(45.0, 12.0, num)
        self.gender = rng.normal(0.0, 2.0, num)  # true logits
        self.income = rng.normal(0.0, 1.5, num)
        female = rng.random(num) < 1.0 / (1.0 + np.exp(-self.gender))
        group = rng.random(num) < 1.0 / (1.0 + np.exp(-self.income))
        bands = age_bands(age)
        self.prior = Prior(45.0, 12.0, [0.5, 0.5], 0.5, bands)
        # The evidence of one measurement of the age with an error of 6 years.
        measured = age + rng.normal(0.0, 6.0, num)
        middles = np.array(bands.middles)
        self.age = -((measured[:, None] - middles) ** 2) / (2.0 * 36.0)
        users = [
            {
                "user_id": f"u{n}",
                "split": "valid",
                "age": float(age[n]),
                "gender": "female" if female[n] else "male",
                "income_group": int(group[n]),
            }
            for n in range(num)
        ]
        self.data: ReaderData = labelled_set(path, users, num_clicks)

    def calibrated(self, gender: Arrays, income: Arrays, age: Arrays) -> Calibration:
        """Calibrate a model whose evidence is this."""
        evidence = np.column_stack([age, np.zeros_like(income), income, gender])
        encoder = ArticleEncoder(nn.Identity(), Nothing())  # type: ignore[arg-type]
        model = TwoStageModel(encoder, Known(evidence.shape[1], 1, self.prior))
        batches = Evidence(evidence)
        self.asked = batches.asked
        task = Task(self.data, batches, self.prior, TWO_STAGE_WEIGHTS, "distribution")
        return calibrate(model, task)


def full(found: Calibration) -> tuple[float, float, float]:
    return found.age.full, found.income.full, found.gender.full


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Readers:
    return Readers(tmp_path_factory.mktemp("data") / "set")


def test_evidence_as_strong_as_it_says_is_left_as_it_is(readers: Readers) -> None:
    found = readers.calibrated(readers.gender, readers.income, readers.age)
    assert full(found) == pytest.approx((1.0, 1.0, 1.0), abs=0.3)
    assert found.age_sd == pytest.approx(1.0, abs=0.1)


def test_an_overconfident_head_is_drawn_to_the_prior(readers: Readers) -> None:
    right = readers.calibrated(readers.gender, readers.income, readers.age)
    found = readers.calibrated(4.0 * readers.gender, 2.0 * readers.income, 3.0 * readers.age)
    assert found.gender.full == pytest.approx(right.gender.full / 4.0, abs=0.02)
    assert found.income.full == pytest.approx(right.income.full / 2.0, abs=0.02)
    assert found.age.full == pytest.approx(right.age.full / 3.0, abs=0.02)
    assert found.age_sd == pytest.approx(right.age_sd, abs=0.05)


def test_a_timid_head_is_trusted_more(readers: Readers) -> None:
    found = readers.calibrated(readers.gender / 1.7, readers.income, readers.age)
    assert found.gender.full > 1.3


@pytest.mark.parametrize("strength", [0.1, 1.0, 5.0])
def test_a_head_that_knows_nothing_is_hardly_heard(readers: Readers, strength: float) -> None:
    rng = np.random.default_rng(1)
    places = np.linspace(-1.0, 1.0, readers.age.shape[1])
    found = []
    for _ in range(20):
        noise = strength * rng.standard_normal((3, NUM_READERS, 1))
        made = readers.calibrated(noise[0, :, 0], noise[1, :, 0], noise[2] * places)
        found.append(full(made))
    # By chance noise is sometimes a little better than nothing: 2 in 100, measured.
    assert (np.array(found) == LEAST_TRUST).mean() > 0.9
    assert np.max(found) * strength < 0.3, "of a logit's deviation"


def test_a_head_that_is_wrong_is_hardly_heard(readers: Readers) -> None:
    wrong = readers.calibrated(-readers.gender, readers.income, readers.age)
    assert wrong.gender == Trust(LEAST_TRUST)


@pytest.mark.parametrize("strength", [1.0, 4.0])
def test_four_ages_in_five_are_within_the_interval(readers: Readers, strength: float) -> None:
    age = strength * readers.age
    found = readers.calibrated(readers.gender, readers.income, age)
    logits = np.log(readers.prior.ages.shares) + found.age.full * age
    shares = torch.softmax(torch.from_numpy(logits), 1)
    years, sd = (part.numpy() for part in age_estimate(shares, readers.prior.ages))
    inside = np.abs(years - readers.data.age) <= 1.2816 * found.age_sd * sd
    assert inside.mean() == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("half", [0.0, 4.0])
def test_trust_grows_with_clicks_where_the_first_ones_mislead(half: float) -> None:
    """Evidence that after n clicks is n / (n + half) of what it says, in five stages."""
    rng = np.random.default_rng(0)

    def stage(clicks: float) -> Callable[[Trust], Arrays]:
        said = rng.normal(0.0, 2.0, 4_000)
        true = said * clicks / (clicks + half)
        sign = np.where(rng.random(len(said)) < 1.0 / (1.0 + np.exp(-true)), 1.0, -1.0)
        return lambda trust: np.log1p(np.exp(-sign * said * trust.after(np.array(clicks))))

    found = _trust([stage(clicks) for clicks in (50.0, 1.0, 2.0, 5.0, 10.0, 20.0)])
    assert found.full == pytest.approx(1.0, abs=0.1)
    assert found.half == half


@pytest.mark.parametrize("few", [-0.25, 0.0, 1.0])
def test_the_interval_is_as_wide_as_few_clicks_need(few: float) -> None:
    rng = np.random.default_rng(0)
    stages = []
    for clicks in (np.full(4_000, 40.0), np.full(3_000, 1.0), np.full(3_000, 5.0)):
        errors = np.abs(rng.normal(0.0, 1.3, len(clicks))) * (1.0 + few / clicks)
        stages.append((errors, clicks))
    width, found = _width(stages)
    assert found == few
    assert width == pytest.approx(1.3, abs=0.07)
    calibration = Calibration(age_sd=width, age_sd_few=found)
    for errors, clicks in stages:
        factor = calibration.width(torch.from_numpy(clicks)).numpy()
        assert (errors <= 1.2816 * factor).mean() == pytest.approx(0.8, abs=0.03)


def test_the_beginnings_of_histories_are_judged_too(tmp_path: Path) -> None:
    few = Readers(tmp_path / "three", 40, num_clicks=3)
    few.calibrated(few.gender, few.income, few.age)
    assert few.asked == [None, 1, 2], "and none that is all of a history, or longer"


def test_few_readers_decide_nothing(tmp_path: Path) -> None:
    few = Readers(tmp_path / "few", 19)
    assert few.calibrated(-few.gender, -few.income, 9.0 * few.age) == Calibration()


def test_a_head_without_labels_stays_as_it_is(readers: Readers, tmp_path: Path) -> None:
    some = Readers(tmp_path / "some")
    some.data = replace(
        some.data, age=np.full(NUM_READERS, np.nan), income=np.full(NUM_READERS, -1)
    )
    found = some.calibrated(some.gender, some.income, some.age)
    assert (found.age, found.income, found.age_sd) == (Trust(), Trust(), 1.0)
    whole = readers.calibrated(readers.gender, readers.income, readers.age)
    assert found.gender == whole.gender


@pytest.mark.parametrize(
    "bands",
    [
        AgeBands([29.5, 30.5], [30.0], [1.0]),
        AgeBands([19.5, 35.0, 50.5], [20.0, 50.0], [0.9, 0.1]),
        age_bands(np.random.default_rng(2).gamma(9.0, 4.0, 500)),
    ],
    ids=["one", "two", "many"],
)
def test_median_and_deviation_are_those_of_the_distribution(bands: AgeBands) -> None:
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.full(len(bands.shares), 0.3), 40)
    shares[0] = bands.shares
    shares[1] = np.eye(len(bands.shares))[-1]  # sure
    years, sd = age_estimate(torch.tensor(shares, dtype=torch.float32), bands)
    for number, row in enumerate(shares):
        median, deviation = median_and_sd(row, bands)
        assert float(years[number]) == pytest.approx(median, abs=2e-3)
        assert float(sd[number]) == pytest.approx(deviation, rel=1e-3)
