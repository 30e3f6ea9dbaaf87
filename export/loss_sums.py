"""Losses and gradients summed: over the batches of an epoch and over processes."""

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import nn

from export.distributed import all_reduced, exchange_device, is_distributed
from export.heads import HEADS, Losses


def over_processes(losses: Losses) -> Losses:
    """Return sums and counts over all processes; gradients flow back to each.

    So every process has the loss of the whole batch, and each head its mean over all its labels.
    """
    if not is_distributed():
        return losses
    sums = all_reduced(torch.stack([total for total, _ in losses.values()]))
    counts = torch.tensor([count for _, count in losses.values()], device=exchange_device())
    dist.all_reduce(counts)
    return {
        head: (total, int(count)) for head, total, count in zip(losses, sums, counts, strict=True)
    }


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Add up the processes' gradients, in one exchange."""
    if not is_distributed():
        return
    gradients = [weight.grad for weight in parameters if weight.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    at = 0
    for gradient in gradients:
        gradient.copy_(flat[at : at + gradient.numel()].view_as(gradient))
        at += gradient.numel()


def same_everywhere(model: nn.Module) -> None:
    """Give every process the main one's weights and statistics."""
    if is_distributed():
        for value in model.state_dict().values():
            dist.broadcast(value, 0)


class HeadTotals:
    """Per-head sums of losses and labels over an epoch."""

    def __init__(self) -> None:
        self._sums = dict.fromkeys(HEADS, 0.0)
        self._counts = dict.fromkeys(HEADS, 0)

    def add(self, losses: Losses) -> None:
        """Take in the losses of one batch."""
        for head, (total, count) in losses.items():
            self._sums[head] += float(total.detach())
            self._counts[head] += count

    def means(self) -> dict[str, float]:
        """Return the mean loss of each head; of one without labels, 0."""
        return {head: self._sums[head] / max(self._counts[head], 1) for head in HEADS}

    def over_processes(self) -> "HeadTotals":
        """Return the totals of all processes' batches."""
        if not is_distributed():
            return self
        held = [*self._sums.values(), *map(float, self._counts.values())]
        flat = torch.tensor(held, dtype=torch.float64, device=exchange_device())
        dist.all_reduce(flat)
        values = flat.tolist()
        totals = HeadTotals()
        totals._sums = dict(zip(HEADS, values[: len(HEADS)], strict=True))
        totals._counts = dict(zip(HEADS, map(int, values[len(HEADS) :]), strict=True))
        return totals
