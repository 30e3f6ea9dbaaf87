"""What is known of a reader before the first click: the training readers' label statistics."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from export.data import Floats, Ints, ReaderData

_PSEUDO_COUNT = 1.0
_SMALLEST_AGE_SD = 1.0
_UNKNOWN_AGE = (40.0, 15.0)  # of a set without ages; the head is then never trained


@dataclass(frozen=True)
class Prior:
    """Mean and standard deviation of age in years, income probabilities, share of women."""

    age_mean: float
    age_sd: float
    income: list[float]
    female: float

    def as_dict(self) -> dict[str, Any]:
        """Return the prior for the manifest."""
        return asdict(self)


def prior_of(data: ReaderData, readers: Ints) -> Prior:
    """Take the statistics of some readers; with a pseudo-count, so that nothing is impossible."""
    ages: Floats = data.age[readers]
    ages = ages[~np.isnan(ages)]
    income, gender = data.income[readers], data.gender[readers]
    groups = np.bincount(income[income >= 0], minlength=len(data.income_groups)) + _PSEUDO_COUNT
    women, people = int((gender == 1).sum()), int((gender >= 0).sum())
    mean, sd = (float(ages.mean()), float(ages.std())) if len(ages) else _UNKNOWN_AGE
    return Prior(
        age_mean=mean,
        age_sd=max(sd, _SMALLEST_AGE_SD),
        income=[float(share) for share in groups / groups.sum()],
        female=(women + _PSEUDO_COUNT) / (people + 2.0 * _PSEUDO_COUNT),
    )
