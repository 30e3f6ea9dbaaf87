"""The Conv1D encoder: a small convolution stack beside a wide path, both over one embedding."""

import torch
from torch import Tensor, nn

from export.encoders.wide import WeightedBag
from schemas.tokenizer import PAD_ID

_DEEP_SHARE = 4  # a quarter of the vector is deep: the wide path carries most of the evidence
_CHANNELS = 48
_POOL = 4
_EMBEDDING_SD = 0.1
_PIECE_DROPOUT = 0.1


class Conv1DEncoder(nn.Module):
    """Encode the text of one article: (B, T) ids → (B, D).

    Every position past the end is zeroed after each layer, so that padding does not matter.
    """

    def __init__(self, vocabulary_size: int, width: int) -> None:
        super().__init__()
        deep = width // _DEEP_SHARE
        wide = width - deep
        self.embedding = nn.Embedding(vocabulary_size, wide, padding_idx=PAD_ID)
        nn.init.normal_(self.embedding.weight, std=_EMBEDDING_SD)
        with torch.no_grad():
            self.embedding.weight[PAD_ID] = 0.0
        self.bag = WeightedBag(vocabulary_size)
        self.first = nn.Conv1d(wide, _CHANNELS, 3, padding=1)
        self.second = nn.Conv1d(_CHANNELS, deep, 3, padding=1)
        self.pool = nn.MaxPool1d(_POOL, ceil_mode=True)

    def forward(self, tokens: Tensor) -> Tensor:
        """Encode token ids (B, T), padded with `PAD_ID`, to (B, D) float32."""
        if self.training:  # drop whole pieces: no single one may carry a decision
            tokens = tokens * (torch.rand(tokens.shape, device=tokens.device) >= _PIECE_DROPOUT)
        embedded = self.embedding(tokens)  # (B, T, E)
        mask = (tokens != PAD_ID).to(embedded.dtype).unsqueeze(1)  # (B, 1, T)
        x = torch.relu(self.first(embedded.transpose(1, 2))) * mask
        x = self.pool(x)
        x = torch.relu(self.second(x)) * self.pool(mask)
        deep = x.amax(2)
        return torch.cat([self.bag(tokens, embedded), deep], 1)
