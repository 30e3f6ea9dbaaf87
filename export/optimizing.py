"""The optimizer and its pace, as a schedule asks for them."""

from typing import Any

import torch
from torch import nn

from export.schedule import Schedule


def build_optimizer(model: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    """Build the optimizer of a model's weights."""
    if schedule.optimizer == "rmsprop":
        # alpha and eps as in Keras, whose defaults the source article uses.
        return torch.optim.RMSprop(
            model.parameters(), lr=schedule.learning_rate, alpha=0.9, eps=1e-7
        )
    encoder = [weight for name, weight in model.named_parameters() if name.startswith("articles.")]
    rest = [weight for name, weight in model.named_parameters() if not name.startswith("articles.")]
    pace = schedule.learning_rate * schedule.encoder_pace
    groups: list[dict[str, Any]] = [{"params": rest}, {"params": encoder, "lr": pace}]
    # Fused: one pass over a large embedding instead of nine.
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=schedule.learning_rate,
        weight_decay=schedule.weight_decay,
        fused=True,
    )


def build_pace(
    optimizer: torch.optim.Optimizer, schedule: Schedule, num_readers: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Slow down to a tenth over the epochs, where the schedule says so."""
    steps = schedule.epochs * -(-num_readers // schedule.batch_readers)
    end = 0.1 if schedule.slow_down else 1.0
    return torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, end, total_iters=steps)
