"""The Conv1D encoder: two convolutions and a maximum over time."""

import torch
from torch import Tensor, nn

from export.encoders.wide_deep import WideDeepEncoder

_CHANNELS = 48
_POOL = 4


class Conv1DStack(nn.Module):
    """3-wide convolution, pool by 4, 3-wide convolution, maximum over time."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(channels, _CHANNELS, 3, padding=1)
        self.second = nn.Conv1d(_CHANNELS, width, 3, padding=1)
        self.pool = nn.MaxPool1d(_POOL, ceil_mode=True)

    def forward(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Encode embeddings (B, C, T) under mask (B, 1, T) to (B, width)."""
        x = self.pool(torch.relu(self.first(embedded)) * mask)
        x = torch.relu(self.second(x)) * self.pool(mask)
        largest: Tensor = x.amax(2)
        return largest


class Conv1DEncoder(WideDeepEncoder):
    """The wide path beside a `Conv1DStack`."""

    def __init__(self, vocabulary_size: int, width: int, *, wide: bool = True) -> None:
        super().__init__(vocabulary_size, width, Conv1DStack, wide=wide)
