"""What is known of a reader before the first click: the training readers' label statistics."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from export.data import Floats, Ints, ReaderData

MOST_AGE_BANDS = 24

_PSEUDO_COUNT = 1.0
_BAND_PSEUDO_COUNT = 0.5
SMALLEST_AGE_SD = 1.0
_UNKNOWN_AGE = (40.0, 15.0)  # of a set without ages; the head is then never trained


@dataclass(frozen=True)
class AgeBands:
    """K bands of about the same number of training readers each.

    `bounds` (K + 1) years, ascending; `middles` (K) the mean age within; `shares` (K) sum to 1.
    """

    bounds: list[float]
    middles: list[float]
    shares: list[float]

    def of(self, age: Floats) -> Floats:
        """Return the number of the band of each age, from 0; NaN where the age is missing.

        >>> AgeBands([0.0, 30.0, 90.0], [20.0, 50.0], [0.5, 0.5]).of(np.array([30.0, 31.0, 99.0]))
        array([0., 1., 1.])
        """
        band = np.clip(np.searchsorted(self.bounds, age) - 1.0, 0.0, len(self.middles) - 1.0)
        return np.where(np.isnan(age), np.nan, band)


UNKNOWN_AGES = AgeBands(
    bounds=[15.0 * number for number in range(7)],
    middles=[15.0 * number + 7.5 for number in range(6)],
    shares=[1.0 / 6.0] * 6,
)
"""Of a set without ages."""


@dataclass(frozen=True)
class Prior:
    """Mean and standard deviation of age in years, income probabilities, share of women."""

    age_mean: float
    age_sd: float
    income: list[float]
    female: float
    ages: AgeBands = UNKNOWN_AGES

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
        age_sd=max(sd, SMALLEST_AGE_SD),
        income=[float(share) for share in groups / groups.sum()],
        female=(women + _PSEUDO_COUNT) / (people + 2.0 * _PSEUDO_COUNT),
        ages=age_bands(ages) if len(ages) else UNKNOWN_AGES,
    )


def age_bands(ages: Floats) -> AgeBands:
    """Cut the ages (n,) at quantiles, between two ages that occur.

    >>> age_bands(np.array([20.0, 20.0, 40.0, 40.0])).bounds
    [19.5, 30.0, 40.5]
    """
    values = np.unique(ages)
    wanted = np.quantile(ages, np.arange(1, MOST_AGE_BANDS) / MOST_AGE_BANDS)
    after = np.searchsorted(values, wanted, side="right")
    after = np.unique(after[after < len(values)])
    inner = (values[after - 1] + values[after]) / 2.0
    bounds = np.concatenate([[values[0] - 0.5], inner, [values[-1] + 0.5]])
    band = np.searchsorted(bounds, ages) - 1
    sizes = np.bincount(band, minlength=len(bounds) - 1)
    shares = (sizes + _BAND_PSEUDO_COUNT) / (sizes + _BAND_PSEUDO_COUNT).sum()
    middles = np.bincount(band, weights=ages, minlength=len(sizes)) / sizes
    return AgeBands(bounds.tolist(), middles.tolist(), shares.tolist())
