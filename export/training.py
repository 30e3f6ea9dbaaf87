"""The training loop: per-head losses each epoch, early stopping on valid, a seed, a time budget.

Under `torchrun` every process draws the same batches, takes its share of the readers of each, and
losses and gradients are summed, so that the result is that of one process.
"""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from export.averaging import to_tensors, with_exact_statistics
from export.batches import shuffled
from export.checkpoints import Checkpoints
from export.data import Ints
from export.distributed import (
    any_process,
    exchange_device,
    is_distributed,
    is_main,
    share_of,
    world_size,
)
from export.heads import HeadOutputs, Losses
from export.loss_sums import HeadTotals, over_processes, sum_gradients
from export.precision import autocast, bounded_threads, reproducible
from export.schedule import History, Schedule, Task
from export.training_state import TrainingState, identity_of, statistics_inputs
from schemas.errors import TrainingError

__all__ = ["History", "Schedule", "Task", "train", "valid_losses"]

_LARGEST_GRADIENT = 5.0


def train(
    model: nn.Module, task: Task, schedule: Schedule, checkpoints: Checkpoints | None = None
) -> History:
    """Train in place and leave the weights of the best epoch on valid, on the CPU.

    Without valid readers the last epoch is kept. With checkpoints the state is written after each
    epoch, and a training that resumes ends with the weights it would have had.

    Raises:
        TrainingError: when there is no training reader, the loss is no longer a number, or a
            checkpoint is of another training.
    """
    if len(task.data.readers_of("train")) == 0:
        raise TrainingError(f"{task.data.name}: no reader in the train split has labels and clicks")
    if is_distributed() and task.balance == "gradient":
        # An article that two processes share has one gradient, of which each knows a part.
        raise TrainingError("balance gradient runs in one process; start it without torchrun")
    device = _device()
    with bounded_threads(), reproducible(device):
        state = TrainingState(model.to(device), task, schedule, device)
        _run(state, task, schedule, checkpoints)
        model.load_state_dict(state.best_state)
        model.eval().cpu()
    state.history.seconds = state.elapsed()
    return state.history


def _run(
    state: TrainingState, task: Task, schedule: Schedule, checkpoints: Checkpoints | None
) -> None:
    """Train until the epochs, the patience or the time are over."""
    identity = identity_of(state, task, schedule) if checkpoints else {}
    if checkpoints and (held := checkpoints.load(identity)):
        state.restore(held)
    history = state.history
    with tqdm(
        total=schedule.epochs,
        initial=len(history.epochs),
        desc="training",
        unit="epoch",
        disable=not is_main(),
    ) as progress:
        while history.stopped == "epochs" and len(history.epochs) < schedule.epochs:
            epoch = len(history.epochs) + 1
            entry, is_late = _one_epoch(state, task, schedule, epoch)
            history.epochs.append(entry)
            _judge(state, task, schedule, entry)
            if is_late:
                history.stopped = "time budget"
            elif epoch - history.best_epoch >= schedule.patience:
                history.stopped = "no better on valid"
            if checkpoints:
                checkpoints.save(identity, state.checkpoint())
            progress.set_postfix_str(_in_words(entry), refresh=False)
            progress.update()


def _one_epoch(
    state: TrainingState, task: Task, schedule: Schedule, epoch: int
) -> tuple[dict[str, Any], bool]:
    """Go over the training readers once; return the record and whether the time ran out."""
    totals, is_late = HeadTotals(), False
    state.model.train()
    readers_in_train = task.data.readers_of("train")
    for readers in shuffled(readers_in_train, schedule.batch_readers, state.rng):
        totals.add(_step(state, task, schedule, readers))
        state.average.update(state.model)
        state.pace.step()
        budget = schedule.max_seconds
        if budget and any_process(state.elapsed() > budget):
            is_late = True
            break
    entry: dict[str, Any] = {"epoch": epoch, "train": totals.means()}
    if task.balance != "fixed":
        entry["balance"] = state.balance.weights()
    return entry, is_late


def _step(state: TrainingState, task: Task, schedule: Schedule, readers: Ints) -> Losses:
    """Learn from one batch; return its losses, those of all processes."""
    share = share_of(len(readers))
    inputs = to_tensors(task.batches.sample(readers, state.rng, share), state.device)
    with autocast(schedule.precision, state.device), state.balance.watch(state.model):
        outputs = state.model(*inputs)
    losses = over_processes(task.losses(_in_full(outputs), readers[share]))
    state.optimizer.zero_grad(set_to_none=True)
    # Each process has the loss of the whole batch: undivided, it would count once for each.
    loss = state.balance.combine(losses) / world_size()
    loss.backward()  # type: ignore[no-untyped-call]
    sum_gradients([*state.model.parameters(), *state.balance.parameters()])
    nn.utils.clip_grad_norm_(state.model.parameters(), _LARGEST_GRADIENT)
    state.optimizer.step()
    return losses


def _judge(state: TrainingState, task: Task, schedule: Schedule, entry: dict[str, Any]) -> None:
    """Measure the weights on valid, and keep them if they are the best so far."""
    epoch = entry["epoch"]
    # In float32 whatever the training's precision: as it will be served.
    candidate = with_exact_statistics(
        state.model, state.average.state(state.model), statistics_inputs(task, schedule)
    )
    valid = task.data.readers_of("valid")
    score = -float(epoch)
    if len(valid):
        entry["valid"] = valid_losses(state.model, candidate, task, valid, schedule)
        score = sum(task.weights.of(head) * loss for head, loss in entry["valid"].items())
    entry["seconds"] = state.elapsed()
    if not np.isfinite(score):
        raise TrainingError(f"the loss is not a number after epoch {epoch}")
    if score < state.best:
        state.best, state.history.best_epoch, state.best_state = score, epoch, candidate


def valid_losses(
    model: nn.Module, weights: dict[str, Tensor], task: Task, readers: Ints, schedule: Schedule
) -> dict[str, float]:
    """Return the mean loss of each head over some readers with other weights than the model's.

    Every process measures a share of the readers; the means are over all of them.
    """
    kept = copy.deepcopy(model.state_dict())
    model.load_state_dict(weights)
    model.eval()
    device = next(model.parameters()).device
    totals = HeadTotals()
    own = readers[share_of(len(readers))]
    with torch.inference_mode():
        for at in range(0, len(own), schedule.batch_readers):
            part = own[at : at + schedule.batch_readers]
            outputs = _in_full(model(*to_tensors(task.batches.newest(part), device)))
            totals.add(task.losses(outputs, part))
    model.load_state_dict(kept)
    return totals.over_processes().means()


def _device() -> torch.device:
    """Return where to compute: where several processes exchange, or else a GPU if there is one."""
    if is_distributed():
        return exchange_device()
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _in_full(outputs: HeadOutputs) -> HeadOutputs:
    """Return outputs in float32: losses are small sums of many."""
    return HeadOutputs(*(part.float() for part in outputs))


def _in_words(entry: dict[str, Any]) -> str:
    parts = []
    for name in ("train", "valid"):
        if name in entry:
            parts.append(name + " " + " ".join(f"{h} {v:.3f}" for h, v in entry[name].items()))
    return ", ".join(parts)
