"""The Inception encoder: modules of four parallel branches, then a maximum over time.

Source: C. Szegedy et al., "Going Deeper with Convolutions", 2015, with the branches in one
dimension and stride 2 in each.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.encoders.convolution import MaskedConvolution, halve
from export.encoders.wide_deep import WideDeepEncoder

_NARROW = 16  # channels after a branch's 1-wide convolution
_CHANNELS = 48  # between the two modules
_BRANCHES = 4


class InceptionModule(nn.Module):
    """Four branches over the same input, each halving time, concatenated."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        one, two, three, four = ((width + rest) // _BRANCHES for rest in range(_BRANCHES))
        self.one = MaskedConvolution(channels, one, 1, stride=2)
        self.two_narrow = MaskedConvolution(channels, _NARROW, 1)
        self.two = MaskedConvolution(_NARROW, two, 3, stride=2)
        self.three = MaskedConvolution(channels, three, 3)
        self.four_narrow = MaskedConvolution(channels, _NARROW, 1)
        self.four_middle = MaskedConvolution(_NARROW, _NARROW, 3)
        self.four = MaskedConvolution(_NARROW, four, 3, stride=2)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Encode x (B, C, T) under mask (B, 1, T) to (B, width, ⌈T / 2⌉)."""
        half = halve(mask)
        four = self.four_middle(self.four_narrow(x, mask), mask)
        branches = (
            self.one(x, half),
            self.two(self.two_narrow(x, mask), half),
            self.three(_average(x, mask) * half, half),
            self.four(four, half),
        )
        return torch.cat(branches, 1)


class InceptionStack(nn.Module):
    """Two modules, then the maximum over time."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.first = InceptionModule(channels, _CHANNELS)
        self.second = InceptionModule(_CHANNELS, width)

    def forward(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Encode embeddings (B, C, T) under mask (B, 1, T) to (B, width)."""
        x = self.second(self.first(embedded, mask), halve(mask))
        largest: Tensor = x.amax(2)
        return largest


class InceptionEncoder(WideDeepEncoder):
    """The wide path beside an `InceptionStack`."""

    def __init__(self, vocabulary_size: int, width: int, *, wide: bool = True) -> None:
        super().__init__(vocabulary_size, width, InceptionStack, wide=wide)


def _average(x: Tensor, mask: Tensor) -> Tensor:
    """Average real positions three by three with stride 2; padding is not counted."""
    return _sum_of_threes(x) / _sum_of_threes(mask).clamp(min=1.0)


def _sum_of_threes(x: Tensor) -> Tensor:
    # Slices with time first and not an average pool, whose kernel is general: 17 µs, not 25.
    x = functional.pad(x.transpose(1, 2), (0, 0, 1, 1))
    size = x.shape[1] - 2
    total = x[:, 0:size:2] + x[:, 1 : size + 1 : 2] + x[:, 2 : size + 2 : 2]
    return total.transpose(1, 2)
