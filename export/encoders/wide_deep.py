"""What encoders share: one embedding, a wide path over it, and beside it a deep stack.

Source: H.-T. Cheng et al., "Wide & Deep Learning for Recommender Systems", 2016.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from export.encoders.wide import WeightedBag
from schemas.tokenizer import PAD_ID

DeepStack = Callable[[int, int], nn.Module]
"""Builds `stack(channels, width)`: embedded (B, C, T), mask (B, 1, T) → (B, width) float32.

The embeddings of padding are 0, and the mask is 1 where there is a piece. A stack keeps padding at
0 after each layer, so that a text's vector does not depend on how far it is padded.
"""

_DEEP_SHARE = 4  # a quarter of the vector is deep: the wide path carries most of the evidence
_EMBEDDING_SD = 0.1
_PIECE_DROPOUT = 0.1


class WideDeepEncoder(nn.Module):
    """Encode the text of one article: (B, T) ids → (B, D), any T from 1.

    Without `wide` all of the vector is the deep stack's; without `deep` all of it is the bag's.
    """

    def __init__(
        self, vocabulary_size: int, width: int, deep: DeepStack | None, *, wide: bool = True
    ) -> None:
        super().__init__()
        deep_width = width // _DEEP_SHARE if deep else 0
        channels = width - deep_width
        self.embedding = nn.Embedding(vocabulary_size, channels, padding_idx=PAD_ID)
        nn.init.normal_(self.embedding.weight, std=_EMBEDDING_SD)
        with torch.no_grad():
            self.embedding.weight[PAD_ID] = 0.0
        self.bag = WeightedBag(vocabulary_size) if wide else None
        self.deep = deep(channels, deep_width if wide else width) if deep else None

    def forward(self, tokens: Tensor) -> Tensor:
        """Encode token ids (B, T), padded with `PAD_ID`, to (B, D) float32."""
        if self.training:  # drop whole pieces: no single one may carry a decision
            tokens = tokens * (torch.rand(tokens.shape, device=tokens.device) >= _PIECE_DROPOUT)
        embedded = self.embedding(tokens)  # (B, T, C)
        parts = []
        if self.bag is not None:
            parts.append(self.bag(tokens, embedded))
        if self.deep is not None:
            mask = (tokens != PAD_ID).to(embedded.dtype).unsqueeze(1)  # (B, 1, T)
            parts.append(self.deep(embedded.transpose(1, 2), mask))
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)
