"""One process of a training that tests start: `python -m tests.training_process SET OUT`.

Writes the weights and the losses to OUT; under `torchrun` the main process does.
"""

import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import torch

from export.data import load_reader_data
from export.distributed import is_main, processes, world_size
from export.schedule import Schedule
from export.training import train
from schemas.reading_set import ReadingSet
from tests.small_networks import small_task, without_dropout


def main(dataset: Path, out: Path) -> None:
    """Train for two epochs without dropout, whose chance is each process's own."""
    with processes():
        model, task = small_task(load_reader_data(ReadingSet(dataset)))
        without_dropout(model)
        task = replace(task, balance="uncertainty")
        history = train(model, task, Schedule(2, 29, 1e-3, "adamw", averaging=0.9))
        if is_main():
            torch.save(model.state_dict(), out / "weights.pt")
            facts = {"processes": world_size(), "epochs": history.epochs}
            (out / "facts.json").write_bytes(msgspec.json.encode(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
