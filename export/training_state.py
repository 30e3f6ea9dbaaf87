"""All that changes in a training, and its way into a checkpoint and back."""

import copy
import time
from dataclasses import asdict
from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np
import torch
from torch import nn

from export.averaging import MovingAverage
from export.balance import build_balance
from export.batches import Inputs, shuffled
from export.distributed import from_each, rank, world_size
from export.loss_sums import same_everywhere
from export.optimizing import build_optimizer, build_pace
from export.schedule import History, Schedule, Task

_STATISTICS_BATCHES = 4


class TrainingState:
    """The weights and what goes with them, from before the first step to after the last."""

    def __init__(
        self, model: nn.Module, task: Task, schedule: Schedule, device: torch.device
    ) -> None:
        same_everywhere(model)
        if rank():
            # Dropout must not hit the same units of every process's readers.
            torch.manual_seed(schedule.seed + rank())
        self.model, self.device = model, device
        self.optimizer = build_optimizer(model, schedule)
        self.balance = build_balance(task.balance, task.weights).to(device)
        self.balance.join(self.optimizer)
        self.pace = build_pace(self.optimizer, schedule, len(task.data.readers_of("train")))
        self.average = MovingAverage(model, schedule.averaging)
        self.rng = np.random.default_rng(schedule.seed)
        self.history = History()
        self.best = float("inf")
        self.best_state = copy.deepcopy(model.state_dict())
        self._started = time.monotonic()

    def elapsed(self) -> float:
        """Return the seconds spent, those before a resumption included."""
        return round(time.monotonic() - self._started, 2)

    def checkpoint(self) -> dict[str, Any]:
        """Return everything as tensors, numbers and texts; every process must call it."""
        self.history.seconds = self.elapsed()
        state = {
            "history": msgspec.json.encode(self.history).decode(),
            "best": self.best,
            "best_state": self.best_state,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "balance": self.balance.state_dict(),
            "pace": self.pace.state_dict(),
            "average": self.average.checkpoint(),
            "chance": self.rng.bit_generator.state,
            "torch_chance": from_each(torch.get_rng_state()),
        }
        if self.device.type == "cuda":
            state["cuda_chance"] = from_each(torch.cuda.get_rng_state(self.device))
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `checkpoint` returned."""
        self.history = msgspec.json.decode(state["history"], type=History)
        self._started = time.monotonic() - self.history.seconds
        self.best = state["best"]
        self.best_state = {
            name: value.to(self.device) for name, value in state["best_state"].items()
        }
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.balance.load_state_dict(state["balance"])
        self.pace.load_state_dict(state["pace"])
        self.average.restore(state["average"])
        self.rng.bit_generator.state = state["chance"]
        torch.set_rng_state(state["torch_chance"][rank()])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_chance"][rank()], self.device)


def identity_of(state: TrainingState, task: Task, schedule: Schedule) -> dict[str, Any]:
    """Return what must be the same for a training to be the same; the time budget need not be."""
    digest = blake2b(digest_size=16)
    for batch in statistics_inputs(task, schedule):
        for array in batch:
            digest.update(np.ascontiguousarray(array).tobytes())
    options = asdict(schedule)
    del options["max_seconds"]
    return {
        "options": {**options, "balance": task.balance},
        "loss weights": asdict(task.weights),
        "set": {"name": task.data.name, "content": task.data.fingerprint},
        "network": str(state.model),
        "processes": world_size(),
        "device": state.device.type,
        "inputs": digest.hexdigest(),
    }


def statistics_inputs(task: Task, schedule: Schedule) -> list[Inputs]:
    """Return a few training batches, the same whenever asked, and the same for every process."""
    rng = np.random.default_rng(schedule.seed)
    readers = task.data.readers_of("train")
    parts = list(shuffled(readers, schedule.batch_readers, rng))[:_STATISTICS_BATCHES]
    return [task.batches.sample(part, rng) for part in parts]
