"""The two-stage architecture: an article encoder, then a profile head over article vectors.

The worker runs the encoder once per article and the head once per reader and batch.
"""

import math

import torch
from torch import Tensor, nn

from export.heads import HeadOutputs
from export.prior import Prior

INTEREST_HALF_LIFE_HOURS = 168.0
"""In the interest vector a click counts half as much as one a week newer."""

_ATTENTION_HEADS = 2
_HIDDEN = 64
_DROPOUT = 0.3
_EVIDENCE = 4.0  # clicks; the mean of fewer is drawn towards 0, the average article
_SMALLEST_LOG_SD, _LARGEST_LOG_SD = -3.0, 1.0  # of the standardised age


class ArticleEncoder(nn.Module):
    """Encode and centre: (B, T) ids → (B, D), zero mean and unit variance per component.

    Centred vectors make the reader's mean vector say how the reader differs from the average,
    and make the similarity of two vectors mean something.
    """

    def __init__(self, encoder: nn.Module, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.centre = nn.BatchNorm1d(width, affine=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Encode token ids (B, T) to (B, D) float32."""
        vectors: Tensor = self.centre(self.encoder(tokens))
        return vectors


class ProfileHead(nn.Module):
    """Estimate age, income and gender from a reader's newest article vectors.

    Pools the clicks by shrunk mean, by maximum and by time-aware attention; a linear path and a
    small network with dropout read the pools. Without a click every pool is 0: the output is the
    prior, up to what training moved.
    """

    def __init__(self, width: int, prior: Prior) -> None:
        super().__init__()
        self.score = nn.Linear(width, _ATTENTION_HEADS)
        self.time = nn.Linear(2, _ATTENTION_HEADS, bias=False)
        pooled = (2 + _ATTENTION_HEADS) * width + 1
        groups = len(prior.income)
        self.norm = nn.BatchNorm1d(width)
        self.linear = nn.Linear(width, 3 + groups)
        last = nn.Linear(_HIDDEN, 3 + groups)
        self.network = nn.Sequential(
            nn.Linear(pooled, _HIDDEN), nn.ReLU(), nn.Dropout(_DROPOUT), last
        )
        self.dropout = nn.Dropout(_DROPOUT)
        self.register_buffer("age_scale", torch.tensor([prior.age_mean, prior.age_sd]))
        logit = math.log(prior.female / (1.0 - prior.female))
        bias = [0.0, 0.0, logit, *(math.log(share) for share in prior.income)]
        self.prior = nn.Parameter(torch.tensor(bias))
        for layer in (self.linear, last):
            nn.init.zeros_(layer.bias)
            nn.init.normal_(layer.weight, std=0.01)

    def forward(self, vectors: Tensor, ages_hours: Tensor, mask: Tensor) -> HeadOutputs:
        """Estimate from vectors (B, N, D), ages and mask (B, N), newest first."""
        count = mask.sum(1, keepdim=True)  # (B, 1)
        attention = self._attention(vectors, ages_hours, mask)  # (B, H, N)
        weights = torch.cat([(mask / (count + _EVIDENCE)).unsqueeze(1), attention], 1)
        pools = torch.bmm(weights, vectors)  # (B, 1 + H, D)
        hidden = (mask - 1.0).unsqueeze(2) * 1e4
        largest = (vectors + hidden).amax(1) * (count > 0.0).to(mask.dtype)
        evidence = torch.log1p(count)
        mean = self.norm(pools[:, 0])
        features = torch.cat([pools[:, 1:].flatten(1), mean, largest, evidence], 1)
        out = self.prior + self.linear(self.dropout(mean)) + self.network(self.dropout(features))
        return HeadOutputs(
            age=out[:, 0],
            age_log_sd=out[:, 1].clamp(_SMALLEST_LOG_SD, _LARGEST_LOG_SD),
            gender=out[:, 2],
            income=out[:, 3:],
        )

    def _attention(self, vectors: Tensor, ages_hours: Tensor, mask: Tensor) -> Tensor:
        """Weigh the clicks by content and age: (B, H, N), 0 where masked, summing to 1."""
        days = ages_hours / 24.0
        times = torch.stack([torch.log1p(days), torch.exp(-days)], 2)  # (B, N, 2)
        scores = (self.score(vectors) + self.time(times)).transpose(1, 2)
        mask = mask.unsqueeze(1)
        scores = scores + (mask - 1.0) * 1e4
        weights = torch.exp(scores - scores.amax(2, keepdim=True)) * mask
        return weights / weights.sum(2, keepdim=True).clamp(min=1e-9)


class TwoStageModel(nn.Module):
    """Both stages, end to end, as they are trained."""

    def __init__(self, articles: ArticleEncoder, head: ProfileHead) -> None:
        super().__init__()
        self.articles = articles
        self.head = head

    def forward(
        self, tokens: Tensor, rows: Tensor, ages_hours: Tensor, mask: Tensor
    ) -> HeadOutputs:
        """Estimate from the batch's distinct articles (U, T) and who clicked which (B, N)."""
        vectors = self.articles(tokens)  # (U, D)
        outputs: HeadOutputs = self.head(vectors[rows], ages_hours, mask)
        return outputs


def interest(vectors: Tensor, ages_hours: Tensor, mask: Tensor) -> Tensor:
    """Return the L2-normalised, recency-weighted mean of article vectors: (B, D); of none, 0."""
    weights = mask * torch.exp(ages_hours * (-math.log(2.0) / INTEREST_HALF_LIFE_HOURS))
    total = torch.bmm(weights.unsqueeze(1), vectors).squeeze(1)
    return total / total.square().sum(1, keepdim=True).clamp(min=1e-18).sqrt()
