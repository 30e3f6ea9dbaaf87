"""The training loop: per-head losses each epoch, early stopping on valid, a seed, a time budget."""

import copy
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from export.averaging import MovingAverage, to_tensors, with_exact_statistics
from export.balance import Balance, build_balance
from export.batches import Batcher, Inputs, shuffled
from export.data import Ints, ReaderData
from export.heads import HEADS, HeadOutputs, Labels, LossWeights, masked_losses
from export.prior import Prior
from schemas.errors import TrainingError

_MOST_THREADS = 16
_LARGEST_GRADIENT = 5.0
_STATISTICS_BATCHES = 4


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train."""

    epochs: int
    batch_readers: int
    learning_rate: float
    optimizer: Literal["adamw", "rmsprop"]
    weight_decay: float = 0.0
    patience: int = 5
    """Epochs without a better valid loss before the training stops."""
    slow_down: bool = False
    """Let the learning rate fall to a tenth over the epochs."""
    averaging: float = 0.0
    """Decay per step of the moving average of the weights, which is what is kept; 0: none."""
    max_seconds: float | None = None
    """Time budget; with one, the result depends on the machine's speed."""
    seed: int = 0


@dataclass
class History:
    """What happened, for the manifest."""

    epochs: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    seconds: float = 0.0
    stopped: str = "epochs"


@dataclass(frozen=True)
class Task:
    """What is trained on: the data, its inputs, and how the losses are taken."""

    data: ReaderData
    batches: Batcher
    prior: Prior
    weights: LossWeights
    age_loss: Literal["likelihood", "squared"]
    balance: Literal["fixed", "uncertainty", "gradient"] = "fixed"

    def labels(self, readers: Ints, device: torch.device) -> Labels:
        """Return the labels of some readers; age standardised unless its loss is in years."""
        age = self.data.age[readers]
        if self.age_loss == "likelihood":
            age = (age - self.prior.age_mean) / self.prior.age_sd
        return Labels(
            age=torch.tensor(age, dtype=torch.float32, device=device),
            income=torch.tensor(self.data.income[readers], device=device),
            gender=torch.tensor(self.data.gender[readers], device=device),
        )


def train(model: nn.Module, task: Task, schedule: Schedule) -> History:
    """Train in place and leave the weights of the best epoch on valid, on the CPU.

    Without valid readers the last epoch is kept.

    Raises:
        TrainingError: when there is no training reader, or the loss is no longer a number.
    """
    train_readers = task.data.readers_of("train")
    valid_readers = task.data.readers_of("valid")
    if len(train_readers) == 0:
        raise TrainingError(f"{task.data.name}: no reader in the train split has labels and clicks")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with bounded_threads():
        return _train(model.to(device), task, schedule, train_readers, valid_readers)


def _train(
    model: nn.Module, task: Task, schedule: Schedule, train_readers: Ints, valid_readers: Ints
) -> History:
    started = time.monotonic()
    rng = np.random.default_rng(schedule.seed)
    optimizer = _optimizer(model, schedule)
    balance = build_balance(task.balance, task.weights).to(next(model.parameters()).device)
    balance.join(optimizer)
    pace = _pace(optimizer, schedule, len(train_readers))
    average = MovingAverage(model, schedule.averaging)
    history, best, best_state = History(), np.inf, copy.deepcopy(model.state_dict())
    progress = tqdm(range(1, schedule.epochs + 1), desc="training", unit="epoch")
    for epoch in progress:
        out_of_time = False
        totals = _Totals()
        model.train()
        for readers in shuffled(train_readers, schedule.batch_readers, rng):
            inputs = task.batches.sample(readers, rng)
            losses = _step(model, task, inputs, readers, optimizer, balance)
            average.update(model)
            pace.step()
            totals.add(losses)
            if schedule.max_seconds and time.monotonic() - started > schedule.max_seconds:
                out_of_time = True
                break
        entry: dict[str, Any] = {"epoch": epoch, "train": totals.means()}
        if task.balance != "fixed":
            entry["balance"] = balance.weights()
        candidate = average.state(model)
        candidate = with_exact_statistics(
            model, candidate, _statistics_inputs(task, train_readers, schedule)
        )
        score = -float(epoch)
        if len(valid_readers):
            entry["valid"] = valid_losses(model, candidate, task, valid_readers, schedule)
            score = sum(task.weights.of(head) * loss for head, loss in entry["valid"].items())
        entry["seconds"] = round(time.monotonic() - started, 2)
        history.epochs.append(entry)
        progress.set_postfix_str(_in_words(entry))
        if not np.isfinite(score):
            raise TrainingError(f"the loss is not a number after epoch {epoch}")
        if score < best:
            best, history.best_epoch, best_state = score, epoch, candidate
        if out_of_time or epoch - history.best_epoch >= schedule.patience:
            history.stopped = "time budget" if out_of_time else "no better on valid"
            break
    progress.close()
    model.load_state_dict(best_state)
    model.eval().cpu()
    history.seconds = round(time.monotonic() - started, 2)
    return history


def _step(
    model: nn.Module,
    task: Task,
    inputs: Inputs,
    readers: Ints,
    optimizer: torch.optim.Optimizer,
    balance: Balance,
) -> dict[str, tuple[Tensor, int]]:
    device = next(model.parameters()).device
    with balance.watch(model):
        outputs: HeadOutputs = model(*to_tensors(inputs, device))
    losses = masked_losses(outputs, task.labels(readers, device), task.age_loss)
    optimizer.zero_grad(set_to_none=True)
    balance.combine(losses).backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), _LARGEST_GRADIENT)
    optimizer.step()
    return losses


def valid_losses(
    model: nn.Module, state: dict[str, Tensor], task: Task, readers: Ints, schedule: Schedule
) -> dict[str, float]:
    """Return the mean loss of each head over some readers with the weights of `state`."""
    kept = copy.deepcopy(model.state_dict())
    model.load_state_dict(state)
    model.eval()
    device = next(model.parameters()).device
    totals = _Totals()
    with torch.inference_mode():
        for at in range(0, len(readers), schedule.batch_readers):
            part = readers[at : at + schedule.batch_readers]
            outputs = model(*to_tensors(task.batches.newest(part), device))
            totals.add(masked_losses(outputs, task.labels(part, device), task.age_loss))
    model.load_state_dict(kept)
    return totals.means()


@contextmanager
def bounded_threads() -> Iterator[None]:
    """Use at most `_MOST_THREADS` threads of this machine's share."""
    before = torch.get_num_threads()
    share = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    torch.set_num_threads(min(_MOST_THREADS, share or 1))
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Totals:
    """Per-head sums of losses and labels over an epoch."""

    def __init__(self) -> None:
        self._sums = dict.fromkeys(HEADS, 0.0)
        self._counts = dict.fromkeys(HEADS, 0)

    def add(self, losses: dict[str, tuple[Tensor, int]]) -> None:
        for head, (total, count) in losses.items():
            self._sums[head] += float(total.detach())
            self._counts[head] += count

    def means(self) -> dict[str, float]:
        return {head: self._sums[head] / max(self._counts[head], 1) for head in HEADS}


def _optimizer(model: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    if schedule.optimizer == "rmsprop":
        # alpha and eps as in Keras, whose defaults the source article uses.
        return torch.optim.RMSprop(
            model.parameters(), lr=schedule.learning_rate, alpha=0.9, eps=1e-7
        )
    return torch.optim.AdamW(
        model.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay
    )


def _pace(
    optimizer: torch.optim.Optimizer, schedule: Schedule, num_readers: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Slow down to a tenth over the epochs, where the schedule says so."""
    steps = schedule.epochs * -(-num_readers // schedule.batch_readers)
    end = 0.1 if schedule.slow_down else 1.0
    return torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, end, total_iters=steps)


def _statistics_inputs(task: Task, readers: Ints, schedule: Schedule) -> list[Inputs]:
    rng = np.random.default_rng(schedule.seed)
    parts = list(shuffled(readers, schedule.batch_readers, rng))[:_STATISTICS_BATCHES]
    return [task.batches.sample(part, rng) for part in parts]


def _in_words(entry: dict[str, Any]) -> str:
    parts = []
    for name in ("train", "valid"):
        if name in entry:
            parts.append(name + " " + " ".join(f"{h} {v:.3f}" for h, v in entry[name].items()))
    return ", ".join(parts)
