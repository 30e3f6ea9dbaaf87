"""Article encoders by name: token ids (B, T) → vectors (B, D) float32.

A new encoder is one file with an `nn.Module` built as `Encoder(vocabulary_size, width)` and one
line in `ENCODERS`. Padding must not matter: the vector of a text is the same however far it is
padded.
"""

from collections.abc import Callable

from torch import nn

from export.encoders.bag import BagEncoder
from export.encoders.conv1d import Conv1DEncoder
from export.encoders.inception import InceptionEncoder
from export.encoders.residual import ResidualEncoder
from schemas.errors import TrainingError

ENCODERS: dict[str, Callable[[int, int], nn.Module]] = {
    "conv1d": Conv1DEncoder,
    "inception": InceptionEncoder,
    "residual": ResidualEncoder,
    "bag": BagEncoder,
}


def build_encoder(name: str, vocabulary_size: int, width: int) -> nn.Module:
    """Build an encoder by name.

    Raises:
        TrainingError: when there is no encoder of that name.
    """
    if name not in ENCODERS:
        raise TrainingError(f"no encoder {name!r}; there are: {', '.join(ENCODERS)}")
    return ENCODERS[name](vocabulary_size, width)
