"""Ridge regression in its dual form equals the primal one of scikit-learn."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import Ridge

from export import kernel
from export.kernel import similarity, solve


def features(rows: int = 40, columns: int = 300, share: float = 0.1) -> sp.csr_array:
    """Some columns that most rows have, some that one has, many that none has."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((rows, columns)) * (rng.random((rows, columns)) < share)
    values[:, :5] = rng.standard_normal((rows, 5))
    values[:, 200:] = 0.0
    values[3, 250] = 2.0
    return sp.csr_array(values.astype(np.float32))


@pytest.mark.parametrize("dense_share", [0.0, 0.2, 1.0])
def test_similarity_is_the_product(dense_share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_DENSE_SHARE", dense_share)
    monkeypatch.setattr(kernel, "_COLUMNS_PER_BLOCK", 7)
    monkeypatch.setattr(kernel, "_ROWS_PER_BLOCK", 9)
    rows = features()
    wanted = (rows @ rows.T).toarray()
    np.testing.assert_allclose(similarity(rows), wanted, atol=1e-4)


@pytest.mark.parametrize("few", [0, 1_000], ids=["float32", "float64"])
def test_the_weights_are_those_of_ridge_regression(
    few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "_FEW_ROWS", few)
    rows, rng = features(), np.random.default_rng(1)
    targets = rng.standard_normal((40, 3))
    targets[:4, 1] = np.nan
    found = rows.T @ solve(similarity(rows), targets, np.array([0.5, 0.5, 2.0]))
    for column, strength in enumerate((0.5, 0.5, 2.0)):
        known = ~np.isnan(targets[:, column])
        own = rows[known].toarray()
        own -= own.mean(0)
        penalty = strength * np.square(own).sum(1).mean()
        wanted = Ridge(alpha=penalty).fit(rows[known].toarray(), targets[known, column]).coef_
        np.testing.assert_allclose(found[:, column], wanted, atol=1e-3 * np.abs(wanted).max())


def test_who_has_no_label_has_no_say() -> None:
    rows = features()
    targets = np.full((40, 3), np.nan)
    targets[10:, 0] = np.arange(30.0)
    targets[7, 1] = 1.0  # one label is none
    found = solve(similarity(rows), targets, np.ones(3))
    assert not found[:10, 0].any() and found[10:, 0].all()
    assert not found[:, 1:].any()


def test_readers_all_alike_are_told_apart_by_nothing() -> None:
    found = solve(np.ones((5, 5), dtype=np.float32), np.arange(5.0)[:, None], np.ones(1))
    assert np.isfinite(found).all()
    assert np.abs(np.ones(5) @ found).max() < 1e-6
