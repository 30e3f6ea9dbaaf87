"""What one training is: how long and how fast, on what, and what happened."""

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from export.batches import Batcher
from export.data import Ints, ReaderData
from export.heads import HeadOutputs, Labels, Losses, LossWeights, masked_losses
from export.options import Precision
from export.prior import Prior


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train."""

    epochs: int
    batch_readers: int
    learning_rate: float
    optimizer: Literal["adamw", "rmsprop"]
    weight_decay: float = 0.0
    encoder_pace: float = 1.0
    """Learning rate of the article encoder over that of the rest."""
    patience: int = 5
    """Epochs without a better valid loss before the training stops."""
    slow_down: bool = False
    """Let the learning rate fall to a tenth over the epochs."""
    averaging: float = 0.0
    """Decay per step of the moving average of the weights, which is what is kept; 0: none."""
    max_seconds: float | None = None
    """Time budget; with one, the result depends on the machine's speed."""
    seed: int = 0
    precision: Precision = "auto"


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
    age_loss: Literal["distribution", "squared"]
    balance: Literal["fixed", "uncertainty", "gradient"] = "fixed"

    def labels(self, readers: Ints, device: torch.device) -> Labels:
        """Return the labels of some readers; age as the number of its band, or in years."""
        age = self.data.age[readers]
        if self.age_loss == "distribution":
            age = self.prior.ages.of(age)
        return Labels(
            age=torch.tensor(age, dtype=torch.float32, device=device),
            income=torch.tensor(self.data.income[readers], device=device),
            gender=torch.tensor(self.data.gender[readers], device=device),
        )

    def losses(self, outputs: HeadOutputs, readers: Ints) -> Losses:
        """Return, per head, the sum of the losses of some readers and the number of labels."""
        device = outputs.gender.device
        steps = self.age_steps(device) if self.age_loss == "distribution" else None
        return masked_losses(outputs, self.labels(readers, device), steps)

    def age_steps(self, device: torch.device) -> Tensor:
        """Return the distances between the middles of the age bands, in sd of the age: (K - 1,)."""
        return torch.tensor(self.prior.ages.middles, device=device).diff() / self.prior.age_sd
