"""Calibration on valid: how far to trust the evidence of each head, and how wide an age is.

Temperature scaling (Guo et al., "On Calibration of Modern Neural Networks", 2017), of the evidence
only: a temperature on all of the logit would draw an unsure head to one half each, this draws it
to the prior. A head that does no better than the prior on valid keeps almost none of its evidence.

The first clicks of a reader are not like later ones (what a site shows to everybody comes first),
so both depend on the number of clicks, and are fitted on the beginnings of histories too.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
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

_BEGINNINGS = (1, 2, 5, 10, 20)  # clicks
_HALVES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_WIDER = (0.0, -0.25, 0.25, -0.5, 0.5, 1.0, 2.0)  # of equals the first is chosen
_MOST_TRUST = 2.0
_CLEARLY = 1.65  # standard errors by which a head must beat the prior on valid: 95 %, one side
_NARROWEST, _WIDEST = 0.3, 3.0
_READERS_PER_BATCH = 64
_FEWEST_READERS = 20

Count = TypeVar("Count", Tensor, Floats)


@dataclass(frozen=True)
class Trust:
    """A factor on the evidence of a head: `full` × n / (n + `half`) after n clicks."""

    full: float = 1.0
    half: float = 0.0

    def after(self, clicks: Count) -> Count:
        """Return the factor after so many clicks, of any shape; of none there is no evidence."""
        return self.full * clicks / (clicks + self.half + 1e-6)


@dataclass(frozen=True)
class Calibration:
    """Trust in each head, and factors on the age's standard deviation."""

    age: Trust = field(default_factory=Trust)
    income: Trust = field(default_factory=Trust)
    gender: Trust = field(default_factory=Trust)
    age_sd: float = 1.0
    age_sd_few: float = 0.0
    """After n clicks the age's standard deviation counts `age_sd` × (1 + `age_sd_few` / n)."""

    def trust(self, clicks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the factors on age, income and gender after so many clicks (B,), (B,) each."""
        return self.age.after(clicks), self.income.after(clicks), self.gender.after(clicks)

    def width(self, clicks: Tensor) -> Tensor:
        """Return the factor on the age's standard deviation after so many clicks: (B,).

        Of none it is 1: the prior's spread is known.
        """
        some = self.age_sd * (1.0 + self.age_sd_few / clicks.clamp(min=1.0))
        return torch.where(clicks > 0.0, some, torch.ones_like(some))


class Stage(NamedTuple):
    """Readers of valid after their first clicks, or after all."""

    readers: Ints  # (B,)
    clicks: Tensor  # (B,) float32
    evidence: HeadOutputs


def calibrate(model: TwoStageModel, task: Task) -> Calibration:
    """Fit on the valid readers; a head with fewer than 20 labels there stays as it is."""
    readers = task.data.readers_of("valid")
    if len(readers) == 0:
        return Calibration()
    lengths = task.data.num_clicks()[readers]
    stages = [_stage(model, task, readers, None)]
    stages += [
        _stage(model, task, readers[lengths > n], n) for n in _BEGINNINGS if (lengths > n).any()
    ]
    losses = [_losses(model, task, stage) for stage in stages]
    age, income, gender = (_trust(list(of_stages)) for of_stages in zip(*losses, strict=True))
    errors = [_age_errors(model, task, stage, age) for stage in stages]
    age_sd, few = _width(errors)
    return Calibration(age, income, gender, age_sd, few)


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


def _stage(model: TwoStageModel, task: Task, readers: Ints, num_clicks: int | None) -> Stage:
    parts, clicks = [], []
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(readers), _READERS_PER_BATCH):
            part = readers[start : start + _READERS_PER_BATCH]
            inputs = task.batches.newest(part, num_clicks)
            tokens, rows, ages, mask, scores = to_tensors(inputs, torch.device("cpu"))
            vectors = torch.cat([scores, model.articles.learned(tokens)[rows]], 2)
            parts.append(model.head.evidence(vectors, ages, mask))
            clicks.append(mask.sum(1))
    evidence = HeadOutputs(*(torch.cat(column) for column in zip(*parts, strict=True)))
    return Stage(readers, torch.cat(clicks), evidence)


Loss = Callable[[Trust], Floats]


def _losses(model: TwoStageModel, task: Task, stage: Stage) -> tuple[Loss, Loss, Loss]:
    """Return, for age, income and gender, the loss of each labelled reader as trust has it."""
    labels = task.labels(stage.readers, torch.device("cpu"))
    steps = task.age_steps(torch.device("cpu"))

    def outputs(trust: Trust) -> HeadOutputs:
        return model.head.with_prior(stage.evidence, (trust.after(stage.clicks),) * 3)

    def age(trust: Trust) -> Floats:
        known = ~labels.age.isnan()
        logits = outputs(trust).age[known]
        return distribution_loss(logits, labels.age[known].long(), steps).double().numpy()

    def income(trust: Trust) -> Floats:
        known = labels.income >= 0
        logits = outputs(trust).income[known]
        loss = functional.cross_entropy(logits, labels.income[known], reduction="none")
        return loss.double().numpy()

    def gender(trust: Trust) -> Floats:
        known = labels.gender >= 0
        logits, women = outputs(trust).gender[known], labels.gender[known].float()
        loss = functional.binary_cross_entropy_with_logits(logits, women, reduction="none")
        return loss.double().numpy()

    calm = torch.inference_mode()
    return calm(age), calm(income), calm(gender)


def _trust(stages: list[Loss]) -> Trust:
    """Choose the trust of least loss: after all clicks, plus on average over the beginnings."""
    whole, beginnings = stages[0], stages[1:]
    prior = whole(Trust(0.0))
    if len(prior) < _FEWEST_READERS:
        return Trust()
    beginnings = [loss for loss in beginnings if len(loss(Trust(0.0))) >= _FEWEST_READERS]

    def total(trust: Trust) -> float:
        few = [float(loss(trust).mean()) for loss in beginnings]
        return float(whole(trust).mean()) + (float(np.mean(few)) if few else 0.0)

    best, least = Trust(), np.inf
    for half in _HALVES if beginnings else _HALVES[:1]:
        found = minimize_scalar(
            lambda full, half=half: total(Trust(float(full), half)),
            bounds=(LEAST_TRUST, _MOST_TRUST),
            method="bounded",
            options={"xatol": 0.01},
        )
        if found.fun < least:
            best, least = Trust(float(found.x), half), found.fun
    gain = prior - whole(best)
    error = gain.std() / np.sqrt(len(gain))
    return best if gain.mean() > _CLEARLY * error else Trust(LEAST_TRUST)


def _age_errors(
    model: TwoStageModel, task: Task, stage: Stage, trust: Trust
) -> tuple[Floats, Floats]:
    """Return the absolute errors of age in its standard deviations, and the clicks of each."""
    factor = trust.after(stage.clicks)
    with torch.inference_mode():
        logits = model.head.with_prior(stage.evidence, (factor, factor, factor)).age
        years, sd = (
            value.numpy() for value in age_estimate(torch.softmax(logits, 1), task.prior.ages)
        )
    truth = task.data.age[stage.readers]
    known = ~np.isnan(truth)
    return np.abs(years - truth)[known] / sd[known], stage.clicks.double().numpy()[known]


def _width(stages: list[tuple[Floats, Floats]]) -> tuple[float, float]:
    """Return the factors with which 80 % of the errors are inside the 80 % interval.

    After all clicks exactly so; after few as nearly as one more number allows.
    """
    if len(stages[0][0]) < _FEWEST_READERS:
        return 1.0, 0.0
    beginnings = [stage for stage in stages[1:] if len(stage[0]) >= _FEWEST_READERS]
    best, least = (1.0, 0.0), np.inf
    for few in _WIDER if beginnings else (0.0,):
        scaled = [errors / (1.0 + few / clicks) for errors, clicks in stages[:1] + beginnings]
        width = _quantile(scaled[0])
        off = [float((errors <= Z80 * width).mean()) - 0.8 for errors in scaled[1:]]
        miss = float(np.square(off).mean()) if off else 0.0
        if miss < least:
            best, least = (width, few), miss
    return best


def _quantile(errors: NDArray[np.float64]) -> float:
    level = min(1.0, np.ceil(0.8 * (len(errors) + 1)) / len(errors))
    return float(np.clip(np.quantile(errors, level) / Z80, _NARROWEST, _WIDEST))
