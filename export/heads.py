"""The three heads: what they put out, their losses with missing labels masked, their balance."""

import math
from dataclasses import asdict, dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from schemas.errors import TrainingError

HEADS = ("age", "income", "gender")


class HeadOutputs(NamedTuple):
    """Raw outputs of a network for B readers and G income groups."""

    age: Tensor  # (B,) standardised in the two-stage architecture, years in the reference
    age_log_sd: Tensor  # (B,) of the standardised age
    income: Tensor  # (B, G) logits
    gender: Tensor  # (B,) logit of being a woman


class Labels(NamedTuple):
    """Labels of B readers; a missing age is NaN, a missing group or gender -1."""

    age: Tensor  # (B,) in the unit of `HeadOutputs.age`
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
"""For losses in nats: a prior's cross-entropy is 0.69 for gender and 2.3 for ten income groups,
and the standardised age's is 1.4; these weights give each head a like share of the gradient, so
that none starves another."""


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


def masked_losses(
    outputs: HeadOutputs, labels: Labels, age_loss: Literal["likelihood", "squared"]
) -> dict[str, tuple[Tensor, int]]:
    """Return, per head, the sum of the losses and the number of labels it is over.

    Age: the negative log-likelihood of a normal distribution (nats) or the squared error.
    Income: categorical cross-entropy. Gender: binary cross-entropy.
    """
    known = ~labels.age.isnan()
    error = outputs.age[known] - labels.age[known]
    if age_loss == "squared":
        age = error.square().sum()
    else:
        log_sd = outputs.age_log_sd[known]
        z = error * torch.exp(-log_sd)
        age = (0.5 * z.square() + log_sd + 0.5 * math.log(2.0 * math.pi)).sum()
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


def weighted_loss(losses: dict[str, tuple[Tensor, int]], weights: LossWeights) -> Tensor:
    """Add up the mean loss of each head times its weight; a head without labels adds nothing."""
    return torch.stack(
        [weights.of(head) * total / max(count, 1) for head, (total, count) in losses.items()]
    ).sum()
