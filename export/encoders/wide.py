"""The wide path of an encoder: a bag of embeddings with one learned weight per piece."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from schemas.tokenizer import PAD_ID


class WeightedBag(nn.Module):
    """Sum the embeddings of a text, each with its piece's weight, over the weights' norm.

    The network's form of TF-IDF: weights start at 1 and are learned; dividing by the Euclidean
    norm of the weights keeps the vectors of short and long texts at one scale.
    """

    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        self.log_weight = nn.Parameter(torch.zeros(vocabulary_size, 1))

    def forward(self, tokens: Tensor, embedded: Tensor) -> Tensor:
        """Pool (B, T) ids and their embeddings (B, T, E) to (B, E); of no text, zeros."""
        mask = (tokens != PAD_ID).to(embedded.dtype)
        weight = functional.embedding(tokens, self.log_weight).squeeze(2).exp() * mask  # (B, T)
        # Clamped inside the root, whose gradient at 0 is infinite.
        # A product of matrices: a plain sum over the places rounds by where the row lies in memory.
        squares = torch.bmm(weight.unsqueeze(1), weight.unsqueeze(2)).squeeze(2)
        norm = squares.clamp(min=1e-12).sqrt()
        total = torch.bmm(weight.unsqueeze(1), embedded).squeeze(1)
        return total / norm
