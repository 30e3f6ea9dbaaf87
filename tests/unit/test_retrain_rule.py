"""The rule by which a retrained model ships: worse both by enough and for sure, or not worse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from export.bundle_model import Estimates
from export.data import ReaderData
from export.retrain_rule import Comparison, Losses, compare, losses_of

SIZE = 400
NOISE = np.random.default_rng(0).gamma(2.0, 0.3, SIZE)


def losses(gender: NDArray[np.float64]) -> Losses:
    nothing = np.full(len(gender), np.nan)
    return {"gender": gender, "age": nothing, "income": nothing}


def judged(
    candidate: NDArray[np.float64], other: NDArray[np.float64], tolerance: float = 0.02
) -> Comparison:
    (found,) = compare(losses(candidate), losses(other), losses(other), "running", tolerance)
    return found


def test_the_same_losses_are_not_worse() -> None:
    found = judged(NOISE, NOISE)
    assert not found.is_worse
    assert (found.difference, found.low, found.high, found.share_worse) == (0.0, 0.0, 0.0, 0.0)


def test_worse_by_more_than_the_tolerance_and_for_sure_is_worse() -> None:
    assert judged(NOISE * 1.05, NOISE).is_worse


def test_surely_worse_within_the_tolerance_is_not() -> None:
    found = judged(NOISE * 1.015, NOISE)
    assert found.low > 0.0 and not found.is_worse


def test_worse_by_chance_is_not() -> None:
    few = NOISE[:40]
    found = judged(few + np.where(np.arange(40) == 0, 4.0, -0.02), few)
    assert found.candidate > 1.05 * found.other
    assert found.low < 0.0 and not found.is_worse


def test_the_bootstrap_is_paired() -> None:
    # Ten times smaller than the readers' differences among themselves, but the same for each.
    assert judged(NOISE + 0.04, NOISE).share_worse == 1.0


def test_no_number_is_worse_than_any() -> None:
    broken = NOISE.copy()
    broken[3] = np.nan
    assert judged(broken, NOISE).is_worse
    assert not judged_against_broken(broken).is_worse


def judged_against_broken(broken: NDArray[np.float64]) -> Comparison:
    (found,) = compare(losses(NOISE), losses(broken), losses(NOISE), "running", 0.02)
    return found


@settings(max_examples=20)
@given(st.floats(0.5, 1.0), st.floats(0.0, 0.5))
def test_a_candidate_that_is_better_for_everyone_is_never_worse(
    scale: float, tolerance: float
) -> None:
    assert not judged(NOISE[:20] * scale, NOISE[:20], tolerance).is_worse


def test_a_head_without_labels_is_not_judged() -> None:
    nothing = losses(np.full(5, np.nan))
    assert compare(nothing, nothing, nothing, "constant", 0.02) == []


def test_what_estimates_cost() -> None:
    data = ReaderData(
        name="two", licence=None, income_groups=["low", "high"], texts=[], tags=[],
        user_ids=["u", "v", "w"], age=np.array([30.0, np.nan, 50.0]),
        income=np.array([1, 0, -1]), gender=np.array([1, 0, -1]), split=np.array([2, 2, 2]),
        offsets=np.zeros(4, dtype=np.int64), clicks=np.zeros(0, dtype=np.int64),
        hours=np.zeros(0),
    )  # fmt: skip
    estimates = Estimates(
        age_years=np.array([33.0, 40.0, 48.0], dtype=np.float32),
        age_sd=np.ones(3, dtype=np.float32),
        income=np.array([[0.5, 0.5], [0.25, 0.75], [0.5, 0.5]], dtype=np.float32),
        female=np.array([0.5, 0.75, 1.0], dtype=np.float32),
    )
    found = losses_of(estimates, data, np.arange(3))
    nan = np.nan
    assert found["age"] == pytest.approx([3.0, nan, 2.0], nan_ok=True)
    assert found["gender"] == pytest.approx([np.log(2), np.log(4), nan], nan_ok=True)
    assert found["income"] == pytest.approx([np.log(2), np.log(4), nan], nan_ok=True)
