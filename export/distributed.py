"""Several training processes as one: who this one is, sums over all of them, and the launch.

`torchrun` sets `RANK`, `WORLD_SIZE` and `LOCAL_RANK`; without them there is one process, and
everything here does nothing. Importing this loads no torch: evaluation does without.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def is_distributed() -> bool:
    """Tell whether this process is one of several that are connected."""
    # Whoever connected the processes has loaded the module.
    dist = sys.modules.get("torch.distributed")
    return dist is not None and dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Return the number of this process, from 0."""
    if not is_distributed():
        return 0
    import torch.distributed as dist

    return dist.get_rank()


def world_size() -> int:
    """Return the number of processes."""
    if not is_distributed():
        return 1
    import torch.distributed as dist

    return dist.get_world_size()


def is_main() -> bool:
    """Tell whether this process writes files and output."""
    return rank() == 0


def all_reduced(tensor: "Tensor") -> "Tensor":
    """Return the sum of `tensor` over the processes; gradients flow back to each of them.

    Alone it returns `tensor` itself. Every process must call it, with the same shape.
    """
    if not is_distributed():
        return tensor
    from export.process_sum import ProcessSum

    total: Tensor = ProcessSum.apply(tensor)  # type: ignore[no-untyped-call]
    return total


def barrier() -> None:
    """Wait until every process is here."""
    if is_distributed():
        import torch
        import torch.distributed as dist

        dist.all_reduce(torch.zeros(1, device=exchange_device()))


def path_from_main(path: Path | None) -> Path:
    """Return the path that the main process gives; the others give None."""
    return Path(bytes_from_main(str(path).encode()).decode())


def bytes_from_main(raw: bytes) -> bytes:
    """Return the bytes that the main process gives; what the others give does not matter."""
    if not is_distributed():
        return raw
    import torch
    import torch.distributed as dist

    where = exchange_device()
    size = torch.tensor([len(raw)], device=where)
    dist.broadcast(size, 0)
    buffer = torch.zeros(int(size), dtype=torch.uint8, device=where)
    if is_main():
        buffer = torch.tensor(list(raw), dtype=torch.uint8, device=where)
    dist.broadcast(buffer, 0)
    return buffer.cpu().numpy().tobytes()


def any_process(flag: bool) -> bool:
    """Tell whether a flag is up in some process, so that all decide alike."""
    if not is_distributed():
        return flag
    import torch
    import torch.distributed as dist

    raised = torch.tensor([int(flag)], device=exchange_device())
    dist.all_reduce(raised)
    return bool(raised.item())


def from_each(tensor: "Tensor") -> "Tensor":
    """Return the tensors of all processes, of one shape and kind: (P, ...), on the CPU."""
    import torch

    if not is_distributed():
        return tensor.cpu().unsqueeze(0)
    import torch.distributed as dist

    rows = torch.zeros((world_size(), *tensor.shape), dtype=tensor.dtype, device=exchange_device())
    rows[rank()] = tensor
    dist.all_reduce(rows)
    return rows.cpu()


def share_of(size: int) -> slice:
    """Return which of `size` things this process takes: all when alone, else a like part."""
    return slice(size * rank() // world_size(), size * (rank() + 1) // world_size())


def exchange_device() -> "torch.device":
    """Return the device on which the processes exchange tensors."""
    import torch
    import torch.distributed as dist

    if is_distributed() and dist.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


@contextmanager
def processes() -> Iterator[None]:
    """Connect the processes that `torchrun` started; alone, do nothing.

    Uses NCCL where every process has a GPU of its own, otherwise Gloo.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or is_distributed():
        yield
        return
    import torch
    import torch.distributed as dist

    uses_gpu = torch.cuda.device_count() >= int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if uses_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if uses_gpu else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()
