"""What may be chosen for a training: options with defaults, and the TOML files that hold them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from schemas.errors import TrainingError

Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class TrainingOptions:
    """What the user may choose; a file of it is the recipe of a shipped model."""

    architecture: Literal["two-stage", "reference"] = "two-stage"
    encoder: str = "bag"
    balance: Literal["fixed", "uncertainty", "gradient"] = "fixed"
    """How the heads' losses are kept in balance; see `export.balance`."""
    loss_weights: str = ""
    """For example `age=1,income=0.5,gender=2`; 0 turns a head off."""
    epochs: int | None = None
    seed: int = 0
    max_clicks: int | None = None
    """The newest clicks an estimate is made of; by default as many as nine readers in ten have,
    between 16 and 256."""
    article_tokens: int | None = None
    """Longest article in tokens; by default what 49 in 50 of the articles have, at most 256."""
    reads_tags: bool = True
    """Whether the encoder reads the articles' tags."""
    learns_valid: bool = True
    """Whether the linear path is fitted on the readers of valid too. Each of them is judged by a
    fit without it, so valid still tells when to stop and how far to trust; but figures of the
    finished model on valid say nothing then."""
    int8: bool = False
    """Whether the article encoder is exported with 8-bit weights."""
    max_seconds: float | None = None
    """Time budget; with one, the result depends on the machine's speed."""
    precision: Precision = "auto"
    """Numbers of the forward pass; `auto` is bfloat16 on a GPU and float32 on a CPU."""
    cache: str | None = None
    """Directory in which the set's arrays are kept for the next training."""
    checkpoint: str | None = None
    """Directory for the state after each epoch."""
    resume: bool = False
    """Whether to go on from the state in `checkpoint`, if there is one."""


def load_options(path: Path | None, **changes: Any) -> TrainingOptions:
    """Read options from a TOML file (none: the defaults), then apply `changes` that are not None.

    Raises:
        TrainingError: when the file cannot be read, or has an unknown name or a wrong type.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = msgspec.toml.decode(path.read_bytes(), type=dict[str, Any])
        except OSError as error:
            raise TrainingError(f"{path}: {error.strerror}") from error
        except msgspec.DecodeError as error:
            raise TrainingError(f"{path}: {error}") from error
    known = TrainingOptions.__dataclass_fields__
    if unknown := sorted(set(values) - set(known)):
        raise TrainingError(f"{path}: no option {', '.join(unknown)}; there are {', '.join(known)}")
    values |= {name: value for name, value in changes.items() if value is not None}
    try:
        return msgspec.convert(values, TrainingOptions)
    except msgspec.ValidationError as error:
        raise TrainingError(f"{path or 'options'}: {error}") from error
