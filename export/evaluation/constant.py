"""The best guess that knows nothing of a reader: the statistics of the training readers."""

import numpy as np

from export.bundle_model import Estimates
from export.data import Ints, ReaderData
from export.prior import SMALLEST_AGE_SD, prior_of
from schemas.bundle import Manifest


class Constant:
    """Say the same of every reader.

    The median age, which has the least absolute error, with the standard deviation about it; the
    shares of the income groups and of women, whose accuracy is that of the majority. They are
    taken from the set's own training readers; of a head without labels there, from the manifest
    of the bundle that is measured, if one is given.
    """

    def __init__(self, data: ReaderData, manifest: Manifest | None = None) -> None:
        readers = data.readers_of("train")
        own = prior_of(data, readers)
        held = manifest.training.get("prior", {}) if manifest else {}
        ages = data.age[readers]
        ages = ages[~np.isnan(ages)]
        self.age_years, self.age_sd = own.age_mean, own.age_sd
        if len(ages):
            self.age_years = float(np.median(ages))
            about_median = float(np.sqrt(np.mean((ages - self.age_years) ** 2)))
            self.age_sd = max(about_median, SMALLEST_AGE_SD)
        elif manifest is not None:
            self.age_years, self.age_sd = manifest.age_mean_years, manifest.age_sd_years
        self.income, self.female = np.array(own.income), own.female
        if not (data.income[readers] >= 0).any() and len(held.get("income", ())) == len(own.income):
            self.income = np.array(held["income"])
        if not (data.gender[readers] >= 0).any():
            self.female = float(held.get("female", own.female))

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
