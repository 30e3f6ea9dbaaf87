"""When a retrained model may take the running one's place: pure functions on losses.

It is refused when, for any head with labels, its loss is worse than the running model's by more
than a tolerance, and a paired bootstrap over the test readers says that it is worse with 95 %
confidence (one-sided); or when the same holds beside the constant. Either alone is not enough: a
difference may be large by chance, or sure but too small to matter.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, percentile interval; paired,
since both models are tested on the same readers.
"""

from typing import Literal

import msgspec
import numpy as np

from export.bundle_model import Estimates
from export.data import MISSING, Floats, Ints, ReaderData

FIGURES = {"gender": "log_loss", "age": "mae", "income": "log_loss"}
"""The loss that each head is judged by: nats, years, nats."""

NUM_RESAMPLES = 2000
CONFIDENCE = 0.95

_TINY = 1e-7

Losses = dict[str, Floats]
"""By head, the loss of each reader (B,); NaN where the label is missing."""

Against = Literal["running", "constant"]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """One head of the candidate beside the running model, or beside the constant."""

    head: str
    figure: str
    against: Against
    readers: int
    """Test readers with the label."""
    other: float
    candidate: float
    difference: float
    """candidate - other: above 0 the candidate is worse."""
    low: float
    high: float
    """Bootstrap 95 % interval of the difference, two-sided."""
    share_worse: float
    """Share of the resamples in which the candidate is worse."""
    is_worse: bool
    """The rule's verdict."""

    def reason(self) -> str:
        """Say in a few words how much worse."""
        whose = "the running model's" if self.against == "running" else "the constant's"
        return (
            f"{self.head} {self.figure} {self.candidate:.4f} is worse than {whose} {self.other:.4f}"
        )


def losses_of(estimates: Estimates, data: ReaderData, readers: Ints) -> Losses:
    """Return what each reader's estimates cost: log-loss, absolute error in years, log-loss."""
    age, income, gender = data.age[readers], data.income[readers], data.gender[readers]
    female = np.clip(estimates.female.astype(np.float64), _TINY, 1.0 - _TINY)
    groups = estimates.income.astype(np.float64)
    chosen = groups[np.arange(len(readers)), np.maximum(income, 0)]
    return {
        "gender": np.where(gender == MISSING, np.nan, -np.log(np.abs(1.0 - gender - female))),
        "age": np.abs(estimates.age_years.astype(np.float64) - age),
        "income": np.where(income == MISSING, np.nan, -np.log(np.clip(chosen, _TINY, 1.0))),
    }


def compare(
    candidate: Losses, other: Losses, labelled: Losses, against: Against, tolerance: float
) -> list[Comparison]:
    """Judge every head with labels.

    labelled: by head (B,), NaN where the label is missing, as any constant's losses are.
    tolerance: how much worse the loss may be, as a share of the other's.
    """
    found = []
    for head, figure in FIGURES.items():
        known = ~np.isnan(labelled[head])
        if known.any():
            pair = (candidate[head][known], other[head][known])
            found.append(_compare(head, figure, against, *pair, tolerance))
    return found


def _compare(
    head: str, figure: str, against: Against, candidate: Floats, other: Floats, tolerance: float
) -> Comparison:
    mean, other_mean = float(candidate.mean()), float(other.mean())
    samples = resampled_means(candidate - other)
    low, sure, high = np.quantile(samples, [0.025, 1.0 - CONFIDENCE, 0.975]).tolist()
    # A model that says "not a number" is worse than any other; so written that NaN is.
    is_worse = not np.isnan(other_mean) and not (
        mean <= other_mean * (1.0 + tolerance) or sure <= 0.0
    )
    return Comparison(
        head=head,
        figure=figure,
        against=against,
        readers=len(candidate),
        other=other_mean,
        candidate=mean,
        difference=mean - other_mean,
        low=low,
        high=high,
        share_worse=float((samples > 0.0).mean()),
        is_worse=is_worse,
    )


def resampled_means(values: Floats, seed: int = 0) -> Floats:
    """Return the means of `NUM_RESAMPLES` resamples of the values: (NUM_RESAMPLES,).

    >>> resampled_means(np.array([2.0, 2.0]))[:3]
    array([2., 2., 2.])
    """
    rng = np.random.default_rng(seed)
    size = len(values)
    return np.array(
        [values[rng.integers(0, size, size)].mean() for _ in range(NUM_RESAMPLES)],
        dtype=np.float64,
    )
