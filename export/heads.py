"""The three heads: what they put out, their losses with missing labels masked, their balance."""

import math
from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from schemas.errors import TrainingError

HEADS = ("age", "income", "gender")

Losses = dict[str, tuple[Tensor, int]]
"""Per head the sum of the losses and the number of labels it is over."""


class HeadOutputs(NamedTuple):
    """Raw outputs of a network for B readers and G income groups."""

    age: Tensor  # (B, K) logits of the age bands; in the reference (B,) years
    income: Tensor  # (B, G) logits
    gender: Tensor  # (B,) logit of being a woman


class Labels(NamedTuple):
    """Labels of B readers; a missing age is NaN, a missing group or gender -1."""

    age: Tensor  # (B,) number of the age band; years where that is what the head puts out
    income: Tensor  # (B,) int64
    gender: Tensor  # (B,) int64


@dataclass(frozen=True)
class LossWeights:
    """How much each head's loss counts."""

    age: float
    income: float
    gender: float

    def of(self, head: str) -> float:
        """Return the weight of a head by name."""
        return float(asdict(self)[head])


REFERENCE_WEIGHTS = LossWeights(age=0.25, income=1.0, gender=10.0)
"""Those of the source article, for a squared error in years."""

TWO_STAGE_WEIGHTS = LossWeights(age=1.0, income=0.5, gender=2.0)
"""A prior's cross-entropy is 0.69 nats for gender and 2.3 for ten income groups, and the loss of
the age's distribution about 2; these weights give each head a like share of the gradient, so that
none starves another."""

_RANKED_SHARE, _CROSS_ENTROPY_SHARE = 2.0, 0.5


def parse_loss_weights(text: str, default: LossWeights) -> LossWeights:
    """Read `age=0.25,income=1,gender=10`; a head that is not named keeps its default.

    >>> parse_loss_weights("gender=3", LossWeights(age=1.0, income=1.0, gender=1.0)).gender
    3.0

    Raises:
        TrainingError: when a name is not a head or a weight not a number from 0 up.
    """
    weights = asdict(default)
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = part.partition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if name not in HEADS or not 0.0 <= weight < math.inf:
            raise TrainingError(
                f"loss weight {part!r}: write age=…,income=…,gender=… with numbers from 0 up"
            )
        weights[name] = weight
    return LossWeights(**weights)


def masked_losses(outputs: HeadOutputs, labels: Labels, age_steps: Tensor | None) -> Losses:
    """Return, per head, the sum of the losses and the number of labels it is over.

    Age: with `age_steps` (K - 1,), the distances between the bands' middles in standard
    deviations, the distribution's loss (`distribution_loss`); without, the squared error in years.
    Income: categorical cross-entropy. Gender: binary cross-entropy.
    """
    known = ~labels.age.isnan()
    if age_steps is None:
        age = (outputs.age[known] - labels.age[known]).square().sum()
    else:
        age = distribution_loss(outputs.age[known], labels.age[known].long(), age_steps).sum()
    has_income, has_gender = labels.income >= 0, labels.gender >= 0
    income = functional.cross_entropy(
        outputs.income[has_income], labels.income[has_income], reduction="sum"
    )
    gender = functional.binary_cross_entropy_with_logits(
        outputs.gender[has_gender],
        labels.gender[has_gender].to(outputs.gender.dtype),
        reduction="sum",
    )
    return {
        "age": (age, int(known.sum())),
        "income": (income, int(has_income.sum())),
        "gender": (gender, int(has_gender.sum())),
    }


def distribution_loss(logits: Tensor, band: Tensor, steps: Tensor) -> Tensor:
    """Return a mixture of two proper scores of logits (B, K) for each reader: (B,).

    The continuous ranked probability score, in standard deviations of the age, of which the mean
    absolute error is the case of a sure guess; and the cross-entropy, which keeps gradients alive
    where the distribution is far off.

    Source: Gneiting and Raftery, "Strictly Proper Scoring Rules, Prediction, and Estimation", 2007.
    """
    below = torch.softmax(logits, 1).cumsum(1)[:, :-1]
    is_below = (band.unsqueeze(1) <= torch.arange(below.shape[1], device=band.device)).to(below)
    ranked = ((below - is_below).square() * steps).sum(1)
    cross_entropy = functional.cross_entropy(logits, band, reduction="none")
    return _RANKED_SHARE * ranked + _CROSS_ENTROPY_SHARE * cross_entropy


def weighted_loss(losses: Losses, weights: LossWeights) -> Tensor:
    """Add up the mean loss of each head times its weight; a head without labels adds nothing."""
    return torch.stack(
        [weights.of(head) * total / max(count, 1) for head, (total, count) in losses.items()]
    ).sum()
