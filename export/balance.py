"""How the heads' losses become one: fixed weights, learned uncertainties, or gradients in accord.

A balance turns the losses of a batch into the scalar that is back-propagated. A head without a
label in the batch, or with weight 0, takes no part.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torchjd.aggregation import UPGradWeighting
from torchjd.linalg import PSDMatrix

from export.dual_cone import SmallProjector
from export.heads import HEADS, Losses, LossWeights, weighted_loss
from export.reference import ReferenceModel
from export.two_stage import TwoStageModel

_PACE = 10.0  # learning rate of the uncertainties over the network's; they are three numbers
_SMALLEST_LOG_VARIANCE, _LARGEST_LOG_VARIANCE = -4.0, 9.0  # weights between 55 and 1 / 8,103
_SMALLEST_NORM = 1e-3  # of the largest; a head whose gradient is 0 must not weigh infinitely


class Balance(nn.Module):
    """Add up the mean losses times weights that never change; the base of the other balances.

    Each step: run the model under `watch`, `combine` the losses, back-propagate. What a balance
    learns is in its parameters, which `join` hands to the optimizer.
    """

    def __init__(self, fixed: LossWeights) -> None:
        super().__init__()
        self.fixed = fixed

    def join(self, optimizer: torch.optim.Optimizer) -> None:
        """Do nothing: there is nothing to learn."""

    @contextmanager
    def watch(self, model: nn.Module) -> Iterator[None]:  # noqa: ARG002
        """Need nothing of the model."""
        yield

    def combine(self, losses: Losses) -> Tensor:
        """Return the weighted sum of the mean losses."""
        return weighted_loss(losses, self.fixed)

    def weights(self) -> dict[str, float]:
        """Return the weights."""
        return {head: self.fixed.of(head) for head in HEADS}

    def taking_part(self, losses: Losses) -> list[str]:
        """Return the heads with labels in the batch that are not turned off."""
        return [head for head, (_, count) in losses.items() if count and self.fixed.of(head)]


class UncertaintyBalance(Balance):
    """Learn a variance per head: the sum of exp(-s) · loss + s / 2, with s = log variance.

    A head whose loss stays large gets less weight; s / 2 keeps all weights from falling to 0. It
    starts at the fixed weights. The best s for a loss L is log(2 L), so clamping s matters only
    to a loss below 0, which a density of age may have, and to squared years.

    Source: Kendall, Gal and Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses for
    Scene Geometry and Semantics", 2018, equation 10.
    """

    def __init__(self, fixed: LossWeights) -> None:
        super().__init__(fixed)
        start = [-math.log(fixed.of(head)) if fixed.of(head) else 0.0 for head in HEADS]
        self.log_variance = nn.Parameter(torch.tensor(start))

    def join(self, optimizer: torch.optim.Optimizer) -> None:
        """Learn the variances faster than the network, and never decay them."""
        optimizer.add_param_group(
            {
                "params": [self.log_variance],
                "lr": _PACE * optimizer.param_groups[0]["lr"],
                "weight_decay": 0.0,
            }
        )

    def combine(self, losses: Losses) -> Tensor:
        """Return the weighted sum with the price of the variances, so that both are learned."""
        log_variance = self._clamped()
        chosen = self.taking_part(losses)
        terms = []
        for head, mean in _means(losses).items():
            s = log_variance[HEADS.index(head)]
            terms.append(torch.exp(-s) * mean + 0.5 * s if head in chosen else 0.0 * mean)
        return torch.stack(terms).sum()

    def weights(self) -> dict[str, float]:
        """Return exp(-s) of each head, 0 of one that is off."""
        learned = torch.exp(-self._clamped()).tolist()
        return {
            head: round(weight, 4) if self.fixed.of(head) else 0.0
            for head, weight in zip(HEADS, learned, strict=True)
        }

    def _clamped(self) -> Tensor:
        """Keep s in bounds, in place: a clamp inside the graph would stop its gradient there."""
        with torch.no_grad():
            self.log_variance.clamp_(_SMALLEST_LOG_VARIANCE, _LARGEST_LOG_VARIANCE)
        return self.log_variance


class GradientBalance(Balance):
    """Give each head a like share of the shared gradient, and let none be worked against.

    Each head's gradient with respect to the shared representation is scaled to the same length
    and projected onto the directions that worsen no head (UPGrad). The weights that come of it
    hold for one ordinary backward pass, so a step costs a backward pass through the heads each,
    not through the encoder. Fixed weights matter in one way only: 0 turns a head off.

    Source: Quinton and Rey, "Jacobian Descent for Multi-Objective Optimization", 2024; taken at
    the representation as in Sener and Koltun, "Multi-Task Learning as Multi-Objective
    Optimization", 2018, section 3.3.
    """

    def __init__(self, fixed: LossWeights) -> None:
        super().__init__(fixed)
        self._shared: Sequence[Tensor] = ()
        self._totals = dict.fromkeys(HEADS, 0.0)
        self._steps = dict.fromkeys(HEADS, 0)

    @contextmanager
    def watch(self, model: nn.Module) -> Iterator[None]:
        """Keep the shared representation; of an unknown model, take all its parameters."""
        layer = _shared_layer(model)
        if layer is None:
            self._shared = [weight for weight in model.parameters() if weight.requires_grad]
            yield
            return

        def keep(_layer: nn.Module, _inputs: Any, output: Tensor) -> None:
            self._shared = [output]

        handle = layer.register_forward_hook(keep)
        try:
            yield
        finally:
            handle.remove()

    def combine(self, losses: Losses) -> Tensor:
        """Return the sum of the mean losses under the weights of this batch."""
        means = _means(losses)
        chosen = self.taking_part(losses)
        found = self._weigh({head: means[head] for head in chosen}) if chosen else {}
        self._shared = ()
        for head, weight in found.items():
            self._totals[head] += weight
            self._steps[head] += 1
        return torch.stack([found.get(head, 0.0) * mean for head, mean in means.items()]).sum()

    def weights(self) -> dict[str, float]:
        """Return the mean weight of each head since the last call."""
        means = {h: round(self._totals[h] / max(self._steps[h], 1), 4) for h in HEADS}
        self._totals, self._steps = dict.fromkeys(HEADS, 0.0), dict.fromkeys(HEADS, 0)
        return means

    def _weigh(self, means: dict[str, Tensor]) -> dict[str, float]:
        gramian = _gramian(list(means.values()), self._shared)
        norms = gramian.diagonal().sqrt()
        norms = norms.clamp(min=_SMALLEST_NORM * float(norms.max()) + 1e-30)
        fixed = torch.tensor([self.fixed.of(head) for head in means], dtype=torch.float64)
        # The length of the whole stays what it is under fixed weights.
        length = torch.exp(torch.log(fixed * norms).mean())
        lengths = torch.ones(len(means), dtype=torch.float64)
        weigh = UPGradWeighting(lengths, projector=SmallProjector())
        accord = weigh(PSDMatrix(gramian / torch.outer(norms, norms)))
        return dict(zip(means, (accord * length / norms).tolist(), strict=True))


_BALANCES: dict[str, type[Balance]] = {
    "fixed": Balance,
    "uncertainty": UncertaintyBalance,
    "gradient": GradientBalance,
}


def build_balance(name: str, fixed: LossWeights) -> Balance:
    """Build a balance by its name in `TrainingOptions.balance`."""
    return _BALANCES[name](fixed)


def _means(losses: Losses) -> dict[str, Tensor]:
    return {head: total / max(count, 1) for head, (total, count) in losses.items()}


def _shared_layer(model: nn.Module) -> nn.Module | None:
    """Return the layer whose output every head reads."""
    if isinstance(model, TwoStageModel):
        return model.articles.learned
    if isinstance(model, ReferenceModel):
        return model.dense
    return None


def _gramian(means: Sequence[Tensor], shared: Sequence[Tensor]) -> Tensor:
    """Return the inner products (m, m) float64 of the losses' gradients by `shared`."""
    rows = []
    for mean in means:
        # A head need not reach every parameter; where it does not, its gradient is 0.
        grads = torch.autograd.grad(
            mean, shared, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        rows.append(torch.cat([grad.flatten() for grad in grads]).float())
    jacobian = torch.stack(rows)
    return (jacobian @ jacobian.T).double().cpu()
