"""The linear path of the article encoder: scores of a text, each a weighted bag of its pieces."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.linear_fit import LinearFit
from export.pieces import FIRST_FACTOR, PLACE_MODULUS, SECOND_FACTOR
from schemas.tokenizer import PAD_ID


class LinearScores(nn.Module):
    """Score the text of one article: (B, T) ids → (B, H), as `LinearFit` fitted it.

    The weights are fitted once, by a convex solver, and do not change afterwards.
    """

    row: Tensor
    rarity: Tensor
    weights: Tensor
    centre: Tensor
    whole_row: Tensor
    whole_number: Tensor
    whole_weights: Tensor

    def __init__(self, fit: LinearFit) -> None:
        super().__init__()
        self.vocabulary_size = fit.vocabulary_size
        self.buckets = len(fit.row) - fit.vocabulary_size
        self.width = fit.weights.shape[1]
        self.register_buffer("row", torch.from_numpy(fit.row))
        self.register_buffer("rarity", torch.from_numpy(fit.rarity).unsqueeze(1))
        self.register_buffer("weights", torch.from_numpy(fit.weights))
        self.register_buffer("centre", torch.from_numpy(fit.centre))
        self.register_buffer("whole_row", torch.from_numpy(fit.whole_row))
        self.register_buffer("whole_number", torch.from_numpy(fit.whole_number))
        self.register_buffer("whole_weights", torch.from_numpy(fit.whole_weights))

    def forward(self, tokens: Tensor) -> Tensor:
        """Score token ids (B, T), padded with `PAD_ID`."""
        ids = tokens.long()
        total, squares = self._bag(ids, ids != PAD_ID)
        if tokens.shape[1] > 1:
            first, second = ids[:, :-1], ids[:, 1:]
            bucket = (first * FIRST_FACTOR + second * SECOND_FACTOR) % self.buckets
            is_pair = (first != PAD_ID) & (second != PAD_ID)
            pairs, more = self._bag(bucket + self.vocabulary_size, is_pair)
            total, squares = total + pairs, squares + more
        return total / squares.clamp(min=1e-18).sqrt() + self._whole(ids) - self.centre

    def _whole(self, ids: Tensor) -> Tensor:
        """Return what the article as a whole tells, if it is a known one: (B, H)."""
        places = torch.arange(1, ids.shape[1] + 1, device=ids.device)
        number = (ids * (places * FIRST_FACTOR % PLACE_MODULUS)).sum(1)
        rows = self.whole_row[number % len(self.whole_row)].long()
        is_it = (self.whole_number[rows] == number).to(self.weights.dtype)
        return functional.embedding(rows, self.whole_weights) * is_it.unsqueeze(1)

    def _bag(self, ids: Tensor, is_there: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weighted sum (B, H) and the squared norm (B, 1) of the pieces."""
        there = is_there.to(self.weights.dtype)
        same = (ids.unsqueeze(2) == ids.unsqueeze(1)).to(there.dtype)  # (B, T, T)
        # How often each piece comes in its text; every place takes a like part of the damped count.
        count = torch.bmm(same, there.unsqueeze(2)).squeeze(2).clamp(min=1.0)
        rows = self.row[ids]
        damped = (1.0 + torch.log(count)) * functional.embedding(rows, self.rarity).squeeze(2)
        part = there * damped / count
        total = torch.bmm(part.unsqueeze(1), functional.embedding(rows, self.weights)).squeeze(1)
        # A product and not a sum: onnxruntime's sum of a row rounds by where the row begins in
        # memory, and an article's scores would depend on its place in the batch.
        return total, torch.bmm(part.unsqueeze(1), damped.unsqueeze(2)).squeeze(2)
