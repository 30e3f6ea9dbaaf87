"""Projection onto the dual cone of a few gradients: the directions that worsen none of them."""

from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchjd.linalg import DualConeProjector, PSDMatrix

_RIDGE = 1e-9


class SmallProjector(DualConeProjector):
    """Project onto the dual cone by trying every set of active constraints: exact for few heads.

    The library's own projector needs a quadratic programming package; for three heads there are
    eight sets to try.
    """

    def __call__(self, U: Tensor, G: PSDMatrix) -> Tensor:  # noqa: N803
        """Return for each row u (…, m) the v ≥ u of the least vᵀGv; G (m, m)."""
        gramian = G.detach().cpu().double().numpy()
        gramian = gramian / max(float(np.trace(gramian)), 1e-300)
        gramian = gramian + _RIDGE * np.eye(len(gramian))
        rows = U.detach().cpu().double().numpy()
        found = np.apply_along_axis(least_above, -1, rows, gramian)
        return torch.as_tensor(found, device=G.device, dtype=G.dtype)


def least_above(lowest: NDArray[np.float64], gramian: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the v ≥ lowest (m,) of the least vᵀGv, for a positive definite G (m, m).

    >>> least_above(np.array([1.0, 0.0]), np.array([[1.0, -0.5], [-0.5, 1.0]]))
    array([1. , 0.5])
    """
    candidates = []
    for bound in product((True, False), repeat=len(lowest)):
        held = np.array(bound)
        free = ~held
        v = lowest.copy()
        if free.any():
            pull = gramian[np.ix_(free, held)] @ lowest[held]
            v[free] = -np.linalg.solve(gramian[np.ix_(free, free)], pull)
            # Where rounding leaves it a hair below, the bound is the answer.
            if (v < lowest - 1e-9).any():
                continue
        candidates.append(np.maximum(v, lowest))
    return min(candidates, key=lambda v: float(v @ gramian @ v))
