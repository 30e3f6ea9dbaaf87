"""Ridge regression by the similarity of readers: exact, and all targets at once.

With fewer readers than features the weights are a combination of the readers' features, and what
is solved for are its R coefficients (the dual form). One factorisation serves every target.

Source: Saunders, Gammerman and Vovk, "Ridge Regression Learning Algorithm in Dual Variables", 1998.
"""

from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray

from export.disk_arrays import Floats, Ints

_DENSE_SHARE = 0.01  # of the rows; a column that more of them have is cheaper as a dense one
_COLUMNS_PER_BLOCK = 2_048
_ROWS_PER_BLOCK = 1_024
_FEW_ROWS = 4_000  # that are solved in float64

Float32s = NDArray[np.float32]


def similarity(features: sp.csr_array) -> Float32s:
    """Return features times their transpose: (R, F) to (R, R) float32, block by block."""
    num_rows = features.shape[0]
    result = np.zeros((num_rows, num_rows), dtype=np.float32)
    columns = sp.csc_array(features)
    held = np.diff(columns.indptr)
    dense = np.flatnonzero(held > _DENSE_SHARE * num_rows)
    for start in range(0, len(dense), _COLUMNS_PER_BLOCK):
        block = columns[:, dense[start : start + _COLUMNS_PER_BLOCK]].toarray()
        result += block @ block.T
    rest = sp.csr_array(columns[:, np.flatnonzero((held > 0) & (held <= _DENSE_SHARE * num_rows))])
    turned = sp.csr_array(rest.T)
    for start in range(0, num_rows, _ROWS_PER_BLOCK):
        part = slice(start, start + _ROWS_PER_BLOCK)
        result[part] += (rest[part] @ turned).toarray()
    return result


def solve(similar: Float32s, targets: Floats, strengths: Floats) -> Floats:
    """Return the coefficients (R, H) of the readers in the weights of each target.

    similar: (R, R). targets: (R, H), NaN where a label is missing: such a reader's coefficient is
    0. strengths: (H,) of the penalty, in units of a reader's mean similarity to itself. Features
    and targets are centred on their means over the readers who have the target; a target that
    fewer than two have gets 0.
    """
    result = np.zeros(targets.shape, dtype=np.float64)
    together: dict[tuple[bytes, float], list[int]] = {}
    for column in range(targets.shape[1]):
        known = ~np.isnan(targets[:, column])
        together.setdefault((known.tobytes(), float(strengths[column])), []).append(column)
    for (_, strength), columns in together.items():
        rows = np.flatnonzero(~np.isnan(targets[:, columns[0]]))
        if len(rows) >= 2:
            wanted = targets[np.ix_(rows, np.array(columns))]
            result[np.ix_(rows, np.array(columns))] = _solve(similar, rows, wanted, strength)
    return result


def _solve(similar: Float32s, rows: Ints, wanted: Floats, strength: float) -> Floats:
    # Of many rows float32 has to do, for memory; the penalty keeps the matrix well conditioned.
    kind = np.dtype(np.float64 if len(rows) <= _FEW_ROWS else np.float32)
    chosen = similar[np.ix_(rows, rows)]  # a copy, which may be changed
    centred: NDArray[Any] = chosen.astype(kind, copy=False)
    means = centred.mean(0, dtype=np.float64)
    centred -= means.astype(kind)
    centred -= (means - means.mean()).astype(kind)[:, None]
    diagonal = np.arange(len(rows))
    own = float(centred[diagonal, diagonal].mean(dtype=np.float64))
    centred[diagonal, diagonal] += kind.type(max(own * strength, 1e-9))
    factor = scipy.linalg.cho_factor(centred, lower=True, overwrite_a=True, check_finite=False)
    middle = (wanted - wanted.mean(0)).astype(kind)
    found = np.asarray(scipy.linalg.cho_solve(factor, middle, check_finite=False), np.float64)
    # Features are centred too, so the sum is 0 but for rounding.
    return np.asarray(found - found.mean(0))
