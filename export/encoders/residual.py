"""The residual encoder: blocks of three convolutions with a shortcut, a maximum over time.

Source: K. He et al., "Deep Residual Learning for Image Recognition", 2016.
"""

import torch
from torch import Tensor, nn

from export.encoders.convolution import MaskedConvolution, halve
from export.encoders.wide_deep import WideDeepEncoder

_CHANNELS = 24


class ResidualBlock(nn.Module):
    """Three 3-wide convolutions plus a shortcut, the first of them with the block's stride.

    The shortcut is the input itself where shapes agree, else a 1-wide strided projection of it.
    """

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = MaskedConvolution(channels, width, 3, stride=stride)
        self.second = MaskedConvolution(width, width, 3)
        self.third = MaskedConvolution(width, width, 3, relu=False)
        same = channels == width and stride == 1
        self.projection = (
            None if same else MaskedConvolution(channels, width, 1, stride=stride, relu=False)
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Encode x (B, C, T); mask (B, 1, ⌈T / stride⌉) is that of the output (B, width, …)."""
        shortcut = x if self.projection is None else self.projection(x, mask)
        return torch.relu(shortcut + self.third(self.second(self.first(x, mask), mask), mask))


class ResidualStack(nn.Module):
    """A block that halves time, one with the identity, one that halves; then the maximum."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.first = ResidualBlock(channels, _CHANNELS, 2)
        self.second = ResidualBlock(_CHANNELS, _CHANNELS, 1)
        self.third = ResidualBlock(_CHANNELS, width, 2)

    def forward(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Encode embeddings (B, C, T) under mask (B, 1, T) to (B, width)."""
        half = halve(mask)
        x = self.second(self.first(embedded, half), half)
        largest: Tensor = self.third(x, halve(half)).amax(2)
        return largest


class ResidualEncoder(WideDeepEncoder):
    """The wide path beside a `ResidualStack`."""

    def __init__(self, vocabulary_size: int, width: int, *, wide: bool = True) -> None:
        super().__init__(vocabulary_size, width, ResidualStack, wide=wide)
