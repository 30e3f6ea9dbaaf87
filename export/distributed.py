"""Several training processes as one: who this one is, sums over all of them, and the launch.

`torchrun` sets `RANK`, `WORLD_SIZE` and `LOCAL_RANK`; without them there is one process, and
everything here does nothing.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor


def is_distributed() -> bool:
    """Tell whether this process is one of several that are connected."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if is_distributed() else 0


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if is_distributed() else 1


def is_main() -> bool:
    """Tell whether this process writes files and output."""
    return rank() == 0


def all_reduced(tensor: Tensor) -> Tensor:
    """Return the sum of `tensor` over the processes; gradients flow back to each of them.

    Alone it returns `tensor` itself. Every process must call it, with the same shape.
    """
    if not is_distributed():
        return tensor
    total: Tensor = _Sum.apply(tensor)  # type: ignore[no-untyped-call]
    return total


class _Sum(torch.autograd.Function):
    """The sum over processes, whose gradient is the sum of the processes' gradients."""

    @staticmethod
    def forward(ctx: object, tensor: Tensor) -> Tensor:
        del ctx
        total = tensor.detach().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        del ctx
        total = gradient.clone()
        dist.all_reduce(total)
        return total


@contextmanager
def processes() -> Iterator[None]:
    """Connect the processes that `torchrun` started; alone, do nothing.

    Uses NCCL where every process has a GPU of its own, otherwise Gloo.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or is_distributed():
        yield
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if uses_gpu := torch.cuda.device_count() >= int(os.environ.get("LOCAL_WORLD_SIZE", "1")):
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if uses_gpu else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()
