"""A sum over processes that gradients flow through."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class ProcessSum(torch.autograd.Function):
    """The sum of each process's tensor; its gradient is the sum of the processes' gradients."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:  # noqa: ARG004
        """Return the sum."""
        return _summed(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        """Return the gradient of the sum of the processes' losses."""
        return _summed(gradient)


def _summed(tensor: Tensor) -> Tensor:
    total = tensor.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total
