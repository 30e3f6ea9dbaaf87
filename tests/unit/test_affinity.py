"""How far a reader belongs to the segments of readers."""

import math

import numpy as np
import pytest

from worker.affinity import membership
from worker.model import Estimates

BOUNDS = np.array([20.0, 30.0, 45.0])


def estimates(years: list[float], sds: list[float]) -> Estimates:
    num = len(years)
    return Estimates(
        np.array(years, dtype=np.float32),
        np.array(sds, dtype=np.float32),
        np.tile(np.array([0.2, 0.8], dtype=np.float32), (num, 1)),
        np.linspace(0.1, 0.9, num, dtype=np.float32),
    )


def test_a_reader_belongs_to_bands_of_ages_by_a_normal_distribution() -> None:
    found = membership(estimates([18.0, 33.3, 70.0], [2.0, 8.0, 11.0]), BOUNDS)
    assert found.dtype == np.float32
    told = zip(found, (18, 33.3, 70), (2, 8, 11), (0.1, 0.5, 0.9), strict=True)
    for row, years, sd, female in told:
        assert row[:4].tolist() == pytest.approx([female, 1 - female, 0.2, 0.8])
        below = [0.5 * (1 + math.erf((bound - years) / sd / math.sqrt(2))) for bound in BOUNDS]
        assert row[4:].tolist() == pytest.approx(np.diff([0.0, *below, 1.0]), abs=6e-4)
        assert row[4:].sum() == pytest.approx(1.0)


def test_a_reader_whose_age_is_said_to_be_certain_belongs_to_one_band() -> None:
    found = membership(estimates([25.0, 30.0, 99.0], [0.0, 0.0, 0.0]), BOUNDS)
    assert found[:, 4:].tolist() == [[0, 1, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0, 1]]


def test_nobody_belongs_nowhere() -> None:
    assert membership(estimates([], []), BOUNDS).shape == (0, 8)
