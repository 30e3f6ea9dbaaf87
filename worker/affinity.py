"""What readers like this one like: tag affinity from the inferred profile."""

import math

import numpy as np
from numpy.typing import NDArray

from schemas.bundle import TagAffinity
from worker.catalogue import Catalogue
from worker.compiled import compiled
from worker.model import LEAST_SD_YEARS, Estimates


class AffinityTable:
    """The bundle's tag affinity, ready to be looked up by catalogue tag.

    The profile's probabilities are soft membership: a reader who is a woman with probability 0.7
    gets 0.7 of what women like and 0.3 of what men like.
    """

    def __init__(self, affinity: TagAffinity) -> None:
        self._tags = affinity.tags
        self._bounds = np.asarray(affinity.age_bounds, dtype=np.float64)
        self._numbered: Catalogue | None = None
        self._numbers = np.empty(0, dtype=int)  # they stay, as long as the catalogue does
        # (S, A): segments by tags, in the order of `membership`.
        self._lift = np.asarray(
            [*affinity.gender, *affinity.income, *affinity.age], dtype=np.float32
        )

    def of(self, estimates: Estimates, catalogue: Catalogue) -> NDArray[np.float32]:
        """Return the affinity of B readers for each catalogue tag, (B, G) float32.

        In natural-log lift, averaged over age, income and gender: 0.7 means that readers like
        this one read the tag twice as often as all readers do; 0 is neutral or not known.
        """
        lift = membership(estimates, self._bounds) @ self._lift / 3.0  # (B, A)
        if self._numbered is not catalogue:
            self._numbered = catalogue
            self._numbers = np.array([catalogue.tag_number(tag) for tag in self._tags], dtype=int)
        table = np.zeros((len(lift), len(catalogue.tag_names)), dtype=np.float32)
        table[:, self._numbers] = lift
        return table


def membership(estimates: Estimates, bounds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return how far B readers belong to each segment, (B, S): women, men, incomes, age bands.

    bounds: (A,) inner bounds of the age bands in years, ascending.
    """
    num_readers, num_groups = estimates.income.shape
    found = np.empty((num_readers, 2 + num_groups + len(bounds) + 1), dtype=np.float32)
    _fill(*estimates, bounds, found)
    return found


@compiled
def _fill(
    age_years: NDArray[np.float32],
    age_sd: NDArray[np.float32],
    income: NDArray[np.float32],
    female: NDArray[np.float32],
    bounds: NDArray[np.float64],
    out: NDArray[np.float32],
) -> None:
    first = 2 + income.shape[1]
    for reader in range(len(out)):
        out[reader, 0] = female[reader]
        out[reader, 1] = np.float32(1.0) - female[reader]
        out[reader, 2:first] = income[reader]
        below = 0.0
        sd = max(age_sd[reader], LEAST_SD_YEARS)  # compiled code raises where it would divide by 0
        for band in range(len(bounds)):
            up_to = normal_cdf((bounds[band] - age_years[reader]) / sd)
            out[reader, first + band] = up_to - below
            below = up_to
        out[reader, first + len(bounds)] = 1.0 - below


@compiled
def normal_cdf(z: float) -> float:
    """Return the standard normal distribution function, to within 0.0003.

    Source: Page, "Approximations to the cumulative normal function", Applied Statistics 1977.
    """
    return 0.5 * (1.0 + math.tanh(math.sqrt(2.0 / math.pi) * (z + 0.044715 * z * z * z)))
