"""Compiled logarithms, powers of two and choices of the best are those of numpy."""

import numpy as np
import pytest

from worker.recommend.co_clicks import best_slots
from worker.recommend.elementwise import exp2_each, log_each


def test_logarithms_are_those_of_numpy() -> None:
    random = np.random.default_rng(0)
    values = np.append(10.0 ** random.uniform(-12.0, 15.0, 10_000), [1.0, 0.5, 2.0, np.sqrt(0.5)])
    found = values.copy()
    log_each(found, np.empty(len(found), dtype=np.int64))
    np.testing.assert_allclose(found, np.log(values), rtol=1e-15, atol=1e-300)


def test_powers_of_two_are_those_of_numpy() -> None:
    values = np.append(
        np.random.default_rng(0).uniform(-31.0, 31.0, 10_000), np.arange(-31.0, 32.0)
    )
    found = values.copy()
    exp2_each(found, np.empty(len(found), dtype=np.int64))
    np.testing.assert_allclose(found, np.exp2(values), rtol=1e-15)
    assert np.array_equal(found[10_000:], np.exp2(np.arange(-31.0, 32.0)))


@pytest.mark.parametrize("size", [1, 2, 50, 64, 65, 300, 2048])
@pytest.mark.parametrize("order", ["random", "ascending", "descending", "equal", "few"])
def test_the_best_slots_are_those_with_the_highest_scores(size: int, order: str) -> None:
    score = np.random.default_rng(size).normal(size=size).astype(np.float32)
    if order in ("ascending", "descending"):
        score = np.sort(score)[:: 1 if order == "ascending" else -1].copy()
    if order == "equal":
        score[:] = 1.0
    if order == "few":
        score[3:] = -np.inf
    out = np.full(64, -1, dtype=np.int64)
    num = best_slots(score, out)
    assert num == min(64, np.isfinite(score).sum())
    assert len(set(out[:num].tolist())) == num
    assert np.array_equal(np.sort(score[out[:num]]), np.sort(score)[len(score) - num :])
