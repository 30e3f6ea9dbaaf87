"""Calibration on valid: how far to trust the evidence of each head, and how wide an age is.

Temperature scaling (Guo et al., "On Calibration of Modern Neural Networks", 2017), of the evidence
only: a temperature on all of the logit would draw an unsure head to one half each, this draws it
to the prior. A head that does no better than the prior on valid keeps almost none of its evidence.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional

from export.averaging import to_tensors
from export.data import Floats, Ints
from export.heads import HeadOutputs, distribution_loss
from export.metrics import Z80
from export.prior import AgeBands
from export.schedule import Task
from export.two_stage import TwoStageModel

LEAST_TRUST = 0.05
"""Of a head that cannot be told from the prior: it still ranks readers, and changes no decision."""

_MOST_TRUST = 2.0
_CLEARLY = 1.0  # standard errors that a head must be better than the prior on valid
_NARROWEST, _WIDEST = 0.3, 3.0
_READERS_PER_BATCH = 64
_FEWEST_READERS = 20


@dataclass(frozen=True)
class Calibration:
    """Factors on the evidence of age, income and gender, and on the age's standard deviation."""

    age: float = 1.0
    income: float = 1.0
    gender: float = 1.0
    age_sd: float = 1.0

    @property
    def trust(self) -> tuple[float, float, float]:
        """Return the factors on the evidence, in the order of `HeadOutputs`."""
        return self.age, self.income, self.gender


def calibrate(model: TwoStageModel, task: Task) -> Calibration:
    """Fit on the valid readers; a head with fewer than 20 labels there stays as it is."""
    readers = task.data.readers_of("valid")
    if len(readers) == 0:
        return Calibration()
    evidence = _evidence(model, task, readers)
    losses = _losses(model, task, evidence, readers)
    age, income, gender = (_trust(loss) for loss in losses)
    with torch.inference_mode():
        shares = torch.softmax(model.head.with_prior(evidence, (age, income, gender)).age, 1)
        years, sd = (value.numpy() for value in age_estimate(shares, task.prior.ages))
    truth = task.data.age[readers]
    known = ~np.isnan(truth)
    return Calibration(age, income, gender, _width(np.abs(years - truth)[known] / sd[known]))


def age_estimate(shares: Tensor, bands: AgeBands) -> tuple[Tensor, Tensor]:
    """Return median and standard deviation in years, (B,) each, of shares (B, K) of the bands.

    Ages are taken to be spread evenly within a band. The median has the least expected absolute
    error.
    """
    bounds = torch.tensor(bands.bounds)
    middles = torch.tensor(bands.middles)
    below = shares.cumsum(1) - shares
    part = ((0.5 - below) / shares.clamp(min=1e-9)).clamp(0.0, 1.0)
    median = bounds[0] + (part * bounds.diff()).sum(1)
    # About the median, not the mean: it is the interval's centre.
    spread = bounds.diff().square() / 12.0
    variance = (shares * ((middles - median.unsqueeze(1)).square() + spread)).sum(1)
    return median, variance.clamp(min=1e-6).sqrt()


def _evidence(model: TwoStageModel, task: Task, readers: Ints) -> HeadOutputs:
    parts = []
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(readers), _READERS_PER_BATCH):
            inputs = task.batches.newest(readers[start : start + _READERS_PER_BATCH])
            tokens, rows, ages, mask, scores = to_tensors(inputs, torch.device("cpu"))
            vectors = torch.cat([scores, model.articles.learned(tokens)[rows]], 2)
            parts.append(model.head.evidence(vectors, ages, mask))
    return HeadOutputs(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _losses(
    model: TwoStageModel, task: Task, evidence: HeadOutputs, readers: Ints
) -> list[Callable[[float], Floats]]:
    """Return, per head, the loss of each labelled reader as a function of the trust."""
    labels = task.labels(readers, torch.device("cpu"))
    steps = task.age_steps(torch.device("cpu"))

    def outputs(trust: float) -> HeadOutputs:
        return model.head.with_prior(evidence, (trust, trust, trust))

    def age(trust: float) -> Floats:
        known = ~labels.age.isnan()
        logits = outputs(trust).age[known]
        return distribution_loss(logits, labels.age[known].long(), steps).double().numpy()

    def income(trust: float) -> Floats:
        known = labels.income >= 0
        logits = outputs(trust).income[known]
        loss = functional.cross_entropy(logits, labels.income[known], reduction="none")
        return loss.double().numpy()

    def gender(trust: float) -> Floats:
        known = labels.gender >= 0
        logits, women = outputs(trust).gender[known], labels.gender[known].float()
        loss = functional.binary_cross_entropy_with_logits(logits, women, reduction="none")
        return loss.double().numpy()

    return [torch.inference_mode()(loss) for loss in (age, income, gender)]


def _trust(loss: Callable[[float], Floats]) -> float:
    prior = loss(0.0)
    if len(prior) < _FEWEST_READERS:
        return 1.0
    best = float(
        minimize_scalar(
            lambda trust: float(loss(trust).mean()),
            bounds=(LEAST_TRUST, _MOST_TRUST),
            method="bounded",
            options={"xatol": 0.01},
        ).x
    )
    gain = prior - loss(best)
    error = gain.std() / np.sqrt(len(gain))
    return best if gain.mean() > _CLEARLY * error else LEAST_TRUST


def _width(errors: Floats) -> float:
    """Return the factor with which 80 % of the errors, in sd, are inside the 80 % interval."""
    if len(errors) < _FEWEST_READERS:
        return 1.0
    level = min(1.0, np.ceil(0.8 * (len(errors) + 1)) / len(errors))
    return float(np.clip(np.quantile(errors, level) / Z80, _NARROWEST, _WIDEST))
