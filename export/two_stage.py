"""The two-stage architecture: an article encoder, then a profile head over article vectors.

The worker runs the encoder once per article and the head once per reader and batch.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.heads import HeadOutputs
from export.linear_scores import LinearScores
from export.prior import Prior
from export.standardise import Standardise

INTEREST_HALF_LIFE_HOURS = 168.0
"""In the interest vector a click counts half as much as one a week newer."""

_ATTENTION_HEADS = 2
_HIDDEN = 64
_DROPOUT = 0.3
_EVIDENCE = (2.0, 16.0, 128.0)
"""Clicks; the mean of fewer is drawn towards 0. Several tell the head how much it knows."""
_GENDER_SHARE = 0.3  # of the network in gender's logit, which the linear path mostly knows
_FIRST_GAIN = 0.25  # of the gender score in its logit, before training
_UNKNOWN = -1e4  # added to what is not there


class CentredEncoder(nn.Module):
    """Encode and centre: (B, T) ids → (B, D), zero mean and unit variance per component.

    Centred vectors make the reader's mean vector say how the reader differs from the average,
    and make the similarity of two vectors mean something.
    """

    def __init__(self, encoder: nn.Module, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.centre = Standardise(width)

    def forward(self, tokens: Tensor, clicks: Tensor | None = None) -> Tensor:
        """Encode token ids (B, T); clicks (B,) weigh the statistics in training."""
        vectors: Tensor = self.centre(self.encoder(tokens), clicks)
        return vectors


class ArticleEncoder(nn.Module):
    """The first stage: (B, T) ids → (B, H + D), the linear scores and the learned vector."""

    def __init__(self, scores: LinearScores, learned: CentredEncoder) -> None:
        super().__init__()
        self.scores = scores
        self.learned = learned

    def forward(self, tokens: Tensor) -> Tensor:
        """Encode token ids (B, T) to (B, H + D) float32."""
        return torch.cat([self.scores(tokens), self.learned(tokens)], 1)


class ProfileHead(nn.Module):
    """Estimate age, income and gender from a reader's newest article vectors.

    Pools the scores by sums over several powers of the number of clicks, and the learned vectors
    by shrunk mean, by maximum and by time-aware attention. What it finds is added to the prior:
    without a click the output is exactly the prior.
    """

    place: Tensor
    age_prior: Tensor
    income_prior: Tensor
    gender_prior: Tensor

    def __init__(self, num_scores: int, width: int, prior: Prior) -> None:
        super().__init__()
        self.num_scores = num_scores
        bands, groups = len(prior.ages.shares), len(prior.income)
        self.bands = bands
        outputs = 1 + 2 + bands + groups
        pools = len(_EVIDENCE) + 1
        self.score = nn.Linear(width, _ATTENTION_HEADS)
        self.time = nn.Linear(2, _ATTENTION_HEADS, bias=False)
        self.gender_gain = nn.Parameter(torch.full((pools,), _FIRST_GAIN))
        self.linear = nn.Linear(pools * num_scores, outputs, bias=False)
        read = (pools + 1) * num_scores + (2 + _ATTENTION_HEADS) * width + 1
        last = nn.Linear(_HIDDEN, outputs)
        self.network = nn.Sequential(
            nn.Linear(read, _HIDDEN), nn.ReLU(), nn.Dropout(_DROPOUT), last
        )
        self.dropout = nn.Dropout(_DROPOUT)
        for layer in (self.linear, last):
            nn.init.normal_(layer.weight, std=0.01)
        nn.init.zeros_(last.bias)
        shares = torch.tensor(prior.ages.shares)
        middles = torch.tensor(prior.ages.middles)
        self.register_buffer("place", (middles - prior.age_mean) / prior.age_sd)
        self.register_buffer("age_prior", shares.log())
        self.register_buffer("income_prior", torch.tensor(prior.income).log())
        self.register_buffer(
            "gender_prior", torch.tensor(math.log(prior.female / (1.0 - prior.female)))
        )

    def forward(self, vectors: Tensor, ages_hours: Tensor, mask: Tensor) -> HeadOutputs:
        """Estimate from vectors (B, N, H + D), ages and mask (B, N), newest first."""
        evidence = self.evidence(vectors, ages_hours, mask)
        whole = torch.ones_like(evidence.gender)
        return self.with_prior(evidence, (whole, whole, whole))

    def evidence(self, vectors: Tensor, ages_hours: Tensor, mask: Tensor) -> HeadOutputs:
        """Return what the clicks add to the prior's logits; of no click, 0."""
        count = mask.sum(1, keepdim=True)  # (B, 1)
        is_known = (count > 0.0).to(mask.dtype)
        # Scores and vectors are pooled together and parted afterwards: parted before, they would be
        # copied click by click, a fifth of what the head costs in onnxruntime.
        attention = self._attention(vectors, ages_hours, mask)
        summed, meant = mask.unsqueeze(1), (mask / (count + _EVIDENCE[0])).unsqueeze(1)
        sums = torch.bmm(torch.cat([summed, meant, attention], 1), vectors)  # (B, 2 + heads, H + D)
        pooled = self._pooled_scores(sums[:, :1, : self.num_scores], count)  # (B, pools, H)
        means = sums[:, 1:, self.num_scores :].flatten(1)  # (B, (1 + heads) D)
        hidden = ((1.0 - mask) * _UNKNOWN).unsqueeze(2)
        most = (vectors + hidden).amax(1) * is_known
        highest, largest = most[:, : self.num_scores], most[:, self.num_scores :]
        flat = pooled.flatten(1)
        features = [flat, highest, self.dropout(means), self.dropout(largest), torch.log1p(count)]
        found = (self.linear(flat) + self.network(torch.cat(features, 1))) * is_known
        tilt, bend = found[:, 1:2], found[:, 2:3]
        free, income = found[:, 3 : 3 + self.bands], found[:, 3 + self.bands :]
        return HeadOutputs(
            # A tilt and a bend of the prior's log shares move and narrow it like a normal
            # distribution; the rest is free.
            age=tilt * self.place + bend * (self.place.square() - 1.0) * 0.5 + free,
            income=income,
            gender=pooled[:, :, 0] @ self.gender_gain + found[:, 0] * _GENDER_SHARE,
        )

    def with_prior(
        self, evidence: HeadOutputs, trust: tuple[Tensor, Tensor, Tensor]
    ) -> HeadOutputs:
        """Add the evidence for age, income and gender, each times its trust (B,), to the prior."""
        age, income, gender = trust
        return HeadOutputs(
            age=self.age_prior + evidence.age * age.unsqueeze(1),
            income=self.income_prior + evidence.income * income.unsqueeze(1),
            gender=self.gender_prior + evidence.gender * gender,
        )

    def _pooled_scores(self, total: Tensor, count: Tensor) -> Tensor:
        """Return the clicks' summed scores, (B, 1, H), over powers of their number: (B, pools, H).

        Evidence of independent clicks adds up; that of like ones counts less and less.
        """
        scales = [math.sqrt(some) / (count + some) for some in _EVIDENCE]
        scales.append(0.5 / torch.sqrt(count + 1.0))
        return total * torch.stack(scales, 1)

    def _attention(self, vectors: Tensor, ages_hours: Tensor, mask: Tensor) -> Tensor:
        """Weigh the clicks by content and age: (B, heads, N), 0 where masked, summing to 1."""
        days = ages_hours / 24.0
        times = torch.stack([torch.log1p(days), torch.exp(-days)], 2)  # (B, N, 2)
        weight = functional.pad(self.score.weight, (self.num_scores, 0))  # nothing of the scores
        content = functional.linear(vectors, weight) + self.time(times)
        # The bias last: onnxruntime adds along whole rows of clicks, and not two by two.
        scores = content.transpose(1, 2) + self.score.bias.unsqueeze(1)
        mask = mask.unsqueeze(1)
        scores = scores + (1.0 - mask) * _UNKNOWN
        weights = torch.exp(scores - scores.amax(2, keepdim=True)) * mask
        return weights / weights.sum(2, keepdim=True).clamp(min=1e-9)


class TwoStageModel(nn.Module):
    """Both stages, end to end, as they are trained."""

    def __init__(self, articles: ArticleEncoder, head: ProfileHead) -> None:
        super().__init__()
        self.articles = articles
        self.head = head

    def forward(
        self, tokens: Tensor, rows: Tensor, ages_hours: Tensor, mask: Tensor, scores: Tensor
    ) -> HeadOutputs:
        """Estimate from the batch's distinct articles (U, T) and who clicked which (B, N).

        scores (B, N, H) are the linear scores by the fit that each reader took no part in.
        """
        clicks = mask.new_zeros(len(tokens)).index_put_((rows,), mask, accumulate=True)
        learned = self.articles.learned(tokens, clicks)  # (U, D)
        vectors = torch.cat([scores, learned[rows]], 2)
        outputs: HeadOutputs = self.head(vectors, ages_hours, mask)
        return outputs


def interest(vectors: Tensor, ages_hours: Tensor, mask: Tensor) -> Tensor:
    """Return the L2-normalised, recency-weighted mean of article vectors: (B, D); of none, 0."""
    weights = mask * torch.exp(ages_hours * (-math.log(2.0) / INTEREST_HALF_LIFE_HOURS))
    total = torch.bmm(weights.unsqueeze(1), vectors).squeeze(1)
    return total / total.square().sum(1, keepdim=True).clamp(min=1e-18).sqrt()
