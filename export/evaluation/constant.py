"""The best guess that knows nothing of a reader: the statistics of the training readers."""

import numpy as np

from export.bundle_model import Estimates
from export.data import Ints, ReaderData
from schemas.bundle import Manifest

_PSEUDO_COUNT = 1.0  # so that nothing is impossible
_SMALLEST_AGE_SD = 1.0
_UNKNOWN_AGE = (40.0, 15.0)


class Constant:
    """Say the same of every reader.

    The median age, which has the least absolute error, with the standard deviation about it; the
    shares of the income groups and of women, whose accuracy is that of the majority. They are
    taken from the set's own training readers; of a head without labels there, from the manifest
    of the bundle that is measured, if one is given.
    """

    def __init__(self, data: ReaderData, manifest: Manifest | None = None) -> None:
        readers = data.readers_of("train")
        ages = data.age[readers]
        ages = ages[~np.isnan(ages)]
        income, gender = data.income[readers], data.gender[readers]
        prior = manifest.training.get("prior", {}) if manifest else {}
        self.age_years, self.age_sd = _UNKNOWN_AGE
        if len(ages):
            self.age_years = float(np.median(ages))
            self.age_sd = float(np.sqrt(np.mean((ages - self.age_years) ** 2)))
        elif manifest is not None:
            self.age_years, self.age_sd = manifest.age_mean_years, manifest.age_sd_years
        self.age_sd = max(self.age_sd, _SMALLEST_AGE_SD)
        groups = np.bincount(income[income >= 0], minlength=len(data.income_groups))
        self.income = (groups + _PSEUDO_COUNT) / (groups + _PSEUDO_COUNT).sum()
        if not groups.any() and len(prior.get("income", ())) == len(groups):
            self.income = np.array(prior["income"])
        women, people = int((gender == 1).sum()), int((gender >= 0).sum())
        self.female = (women + _PSEUDO_COUNT) / (people + 2.0 * _PSEUDO_COUNT)
        if not people:
            self.female = float(prior.get("female", self.female))

    def estimate(
        self,
        data: ReaderData,  # noqa: ARG002 a constant looks at nothing
        readers: Ints,
        num_clicks: int | None = None,  # noqa: ARG002
    ) -> Estimates:
        """Return the same for all of `readers`."""
        size = len(readers)
        return Estimates(
            age_years=np.full(size, self.age_years, dtype=np.float32),
            age_sd=np.full(size, self.age_sd, dtype=np.float32),
            income=np.tile(self.income.astype(np.float32), (size, 1)),
            female=np.full(size, self.female, dtype=np.float32),
        )
