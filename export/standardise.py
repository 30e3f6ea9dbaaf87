"""Zero mean and unit variance per component, over the clicks of a whole batch."""

import torch
from torch import Tensor, nn

from export.distributed import all_reduced

_EPSILON = 1e-5


class Standardise(nn.Module):
    """Batch normalization without scale or shift, weighted, and the same in several processes.

    An article counts as often as it was clicked in the batch, so that an average reader's mean
    vector is 0, and so that processes that share a batch find the statistics of all of it.

    Source: Ioffe and Szegedy, "Batch Normalization", 2015.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, width: int, momentum: float = 0.1) -> None:
        super().__init__()
        self.momentum: float | None = momentum
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def reset_running_stats(self) -> None:
        """Forget what was measured."""
        self.running_mean.zero_()
        self.running_var.fill_(1.0)
        self.num_batches_tracked.zero_()

    def forward(self, vectors: Tensor, weights: Tensor | None = None) -> Tensor:
        """Standardise vectors (U, D); weights (U,) are needed in training only."""
        if not self.training:
            return (vectors - self.running_mean) * torch.rsqrt(self.running_var + _EPSILON)
        vectors = vectors.float()  # sums of many: not in 16 bits
        if weights is None:
            weights = vectors.new_ones(len(vectors))
        weights = weights.unsqueeze(1).to(vectors.dtype)
        total = all_reduced(weights.sum()).clamp(min=1e-6)
        mean = all_reduced((weights * vectors).sum(0)) / total
        centred = vectors - mean
        variance = all_reduced((weights * centred.square()).sum(0)) / total
        with torch.no_grad():
            self.num_batches_tracked += 1
            # None: a plain average over the batches since the reset.
            pace = self.momentum or 1.0 / float(self.num_batches_tracked)
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), pace)
            self.running_var.lerp_(variance.to(self.running_var.dtype), pace)
        return centred * torch.rsqrt(variance + _EPSILON)
