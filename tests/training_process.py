"""One process of a training that tests start: `python -m tests.training_process SET OUT`.

Writes the weights and the losses to OUT; under `torchrun` the main process does.
"""

import sys
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import nn

from export.batches import TwoStageBatches
from export.data import load_reader_data
from export.distributed import all_reduced, is_main, processes, world_size
from export.encoders import build_encoder, wide_deep
from export.heads import TWO_STAGE_WEIGHTS, HeadOutputs
from export.prior import prior_of
from export.schedule import Schedule, Task
from export.training import train
from schemas.reading_set import ReadingSet

WIDTH, VOCABULARY, TOKENS = 8, 50, 16


class SmallModel(nn.Module):
    """An encoder, statistics over the whole batch, and a head: what processes must agree on."""

    def __init__(self, num_groups: int) -> None:
        super().__init__()
        self.encoder = build_encoder("conv1d", VOCABULARY, WIDTH)
        self.head = nn.Linear(WIDTH, 3 + num_groups)

    def forward(
        self, tokens: torch.Tensor, rows: torch.Tensor, _ages: torch.Tensor, mask: torch.Tensor
    ) -> HeadOutputs:
        """Estimate from the mean of centred articles."""
        clicked = self.encoder(tokens)[rows] * mask.unsqueeze(2)  # (B, N, D)
        if self.training:
            count = all_reduced(mask.sum().detach())
            mean = all_reduced(clicked.sum((0, 1))) / count
            clicked = (clicked - mean) * mask.unsqueeze(2)
        out = self.head(clicked.sum(1) / mask.sum(1, keepdim=True).clamp(min=1.0))
        return HeadOutputs(age=out[:, 0], age_log_sd=out[:, 1], gender=out[:, 2], income=out[:, 3:])


def main(dataset: Path, out: Path) -> None:
    """Train for two epochs."""
    with processes():
        data = load_reader_data(ReadingSet(dataset))
        torch.manual_seed(0)
        model = SmallModel(len(data.income_groups))
        # Chance within a process is its own; without it, one and several must agree.
        wide_deep._PIECE_DROPOUT = 0.0
        tokens = np.random.default_rng(0).integers(
            0, VOCABULARY, (len(data.texts), TOKENS), dtype=np.int32
        )
        prior = prior_of(data, data.readers_of("train"))
        batches = TwoStageBatches(data, tokens, 8)
        task = Task(data, batches, prior, TWO_STAGE_WEIGHTS, "likelihood", "uncertainty")
        history = train(model, task, Schedule(2, 29, 1e-2, "adamw", averaging=0.9))
        if is_main():
            torch.save(model.state_dict(), out / "weights.pt")
            facts = {"processes": world_size(), "epochs": history.epochs}
            (out / "facts.json").write_bytes(msgspec.json.encode(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
