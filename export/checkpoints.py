"""The state of a training on disk after each epoch, from which it goes on as if never stopped."""

import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch

from export.distributed import barrier, is_main
from schemas.errors import TrainingError

FILE = "checkpoint.pt"
FORMAT = 1


@dataclass(frozen=True)
class Checkpoints:
    """Where a training leaves its state, and whether it starts from what is there.

    The file is replaced at once, so that a kill leaves the one before. Resuming where there is
    none starts from the beginning, so that a command may always say `--resume`.
    """

    directory: Path
    resume: bool = False

    def save(self, identity: dict[str, Any], state: dict[str, Any]) -> None:
        """Write a state of tensors, numbers, texts and containers of them.

        identity: what the training is of, in JSON types; one with another cannot resume from it.

        Raises:
            TrainingError: when the file cannot be written.
        """
        if not is_main():
            return
        content = {"format": FORMAT, "identity": msgspec.json.encode(identity).decode(), **state}
        path = self.directory / FILE
        fresh = path.with_suffix(".new")
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with fresh.open("wb") as file:
                torch.save(content, file)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        except OSError as error:
            raise TrainingError(f"{path}: {error.strerror}") from error

    def load(self, identity: dict[str, Any]) -> dict[str, Any] | None:
        """Return the state to go on from; None to start from the beginning.

        Raises:
            TrainingError: when the file is damaged, or of a training with another identity.
        """
        path = self.directory / FILE
        barrier()  # nobody may write before all have read
        if not self.resume or not path.exists():
            return None
        try:
            # Tensors and plain values only: loading runs no code from the file.
            content = torch.load(path, map_location="cpu", weights_only=True)
            there = msgspec.json.decode(content["identity"])
        except (OSError, RuntimeError, KeyError, TypeError, EOFError) as error:
            raise TrainingError(f"{path}: not a checkpoint, or damaged") from error
        except (pickle.UnpicklingError, msgspec.DecodeError) as error:
            raise TrainingError(f"{path}: not a checkpoint, or damaged") from error
        here = msgspec.json.decode(msgspec.json.encode(identity))
        if content.get("format") != FORMAT or there != here:
            raise TrainingError(f"{path}: of another training: {_difference(there, here)}")
        barrier()
        return dict(content)


def _difference(there: dict[str, Any], here: dict[str, Any]) -> str:
    """Name the first thing that differs."""
    for name in {**here, **there}:
        one, other = there.get(name), here.get(name)
        if one != other:
            if isinstance(one, dict) and isinstance(other, dict):
                return f"{name}, {_difference(one, other)}"
            if isinstance(one, int | float | bool) or isinstance(other, int | float | bool):
                return f"{name} is {one} there and {other} here"
            return f"{name} differs"
    return "another version of frontpage wrote it"
