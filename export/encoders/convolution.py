"""The convolution that deeper stacks are made of, and its mask."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class MaskedConvolution(nn.Module):
    """Convolve, ReLU, and put padding back to 0: (B, C, T) → (B, width, ⌈T / stride⌉).

    Output i is centred on input i × stride, so that a text's outputs are where they are however
    far it is padded. Weights start as K. He et al., "Delving Deep into Rectifiers", 2015:
    PyTorch's own start loses half of the signal in every layer.
    """

    def __init__(
        self, channels: int, width: int, kernel: int, *, stride: int = 1, relu: bool = True
    ) -> None:
        super().__init__()
        self.layer = nn.Conv1d(channels, width, kernel, stride=stride, padding=kernel // 2)
        nn.init.kaiming_normal_(self.layer.weight, nonlinearity="relu" if relu else "linear")
        nn.init.zeros_(self.layer.get_parameter("bias"))
        self.relu = relu

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Convolve x (B, C, T); mask (B, 1, ⌈T / stride⌉) is that of the output."""
        x = self.layer(x)
        return (torch.relu(x) if self.relu else x) * mask


def halve(mask: Tensor) -> Tensor:
    """Return the mask (B, 1, ⌈T / 2⌉) after stride 2: 1 where either piece of a pair is real.

    Pairs and not the windows of a 3-wide convolution: those of a padded text reach one position
    further than those of the same text without padding.
    """
    return functional.max_pool1d(mask, 2, ceil_mode=True)
