"""Small two-stage networks: with a made-up linear path, or fitted on a set's random tokens."""

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import nn

from export.batches import TwoStageBatches
from export.data import ReaderData
from export.encoders import build_encoder, wide_deep
from export.heads import TWO_STAGE_WEIGHTS
from export.linear_fit import LinearFit, fit_linear
from export.linear_scores import LinearScores
from export.prior import Prior, age_bands
from export.schedule import Task
from export.two_stage import ArticleEncoder, CentredEncoder, ProfileHead, TwoStageModel

WIDTH, TOKENS, VOCABULARY, MAX_CLICKS = 16, 24, 60, 8
SCORES = ["gender", "age", *(f"age>{bound}" for bound in (25, 40, 55)), "income"]
SCORES += ["income=0", "income=1"]

NO_SPELLING = sp.csr_array((VOCABULARY, 0), dtype=np.float32)
"""Of pieces that are only numbers."""

PRIOR = Prior(
    age_mean=45.0,
    age_sd=20.0,
    income=[0.7, 0.3],
    female=0.4,
    ages=age_bands(np.array([18.0, 25.0, 25.0, 31.0, 40.0, 44.0, 52.0, 60.0, 71.0, 84.0])),
)


def made_up_fit(vocabulary: int = VOCABULARY, buckets: int = 128) -> LinearFit:
    """Return random weights; a third of the pieces and pairs has none."""
    rng = np.random.default_rng(1)
    size = vocabulary + buckets
    used = np.flatnonzero(rng.random(size) > 1 / 3)
    row = np.zeros(size, dtype=np.int32)
    row[used] = np.arange(1, len(used) + 1)
    rarity = rng.uniform(1.0, 6.0, len(used) + 1).astype(np.float32)
    weights = rng.standard_normal((len(used) + 1, len(SCORES)), dtype=np.float32)
    rarity[0], weights[0] = 0.0, 0.0
    return LinearFit(
        vocabulary_size=vocabulary,
        names=SCORES,
        row=row,
        rarity=rarity,
        weights=weights,
        centre=rng.standard_normal(len(SCORES), dtype=np.float32),
        whole_row=np.zeros(4, dtype=np.int32),
        whole_number=np.zeros(1, dtype=np.int64),
        whole_weights=np.zeros((1, len(SCORES)), dtype=np.float32),
        scores=np.zeros((1, 0, len(SCORES)), dtype=np.float32),
        fold=np.zeros(0, dtype=np.int64),
    )


def article_encoder(
    fit: LinearFit, encoder: str = "conv1d", width: int = WIDTH, vocabulary: int = VOCABULARY
) -> ArticleEncoder:
    """Build the first stage."""
    learned = CentredEncoder(build_encoder(encoder, vocabulary, width), width)
    return ArticleEncoder(LinearScores(fit), learned)


def small_model(fit: LinearFit, encoder: str = "conv1d", prior: Prior = PRIOR) -> TwoStageModel:
    """Build both stages."""
    head = ProfileHead(fit.weights.shape[1], WIDTH, prior)
    return TwoStageModel(article_encoder(fit, encoder), head)


def random_tokens(num: int, vocabulary: int = VOCABULARY) -> NDArray[np.int32]:
    """Return texts (num, TOKENS) of random pieces and different lengths."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, vocabulary, (num, TOKENS), dtype=np.int32)
    return tokens * (np.arange(TOKENS) < rng.integers(1, TOKENS + 1, (num, 1)))


def small_task(data: ReaderData) -> tuple[TwoStageModel, Task]:
    """Return an untrained network for a set, and what to train it on."""
    tokens = random_tokens(len(data.texts))
    linear = fit_linear(data, tokens, NO_SPELLING, MAX_CLICKS, seed=0)
    torch.manual_seed(5)
    model = small_model(linear)
    batches = TwoStageBatches(data, tokens, MAX_CLICKS, linear)
    return model, Task(data, batches, PRIOR, TWO_STAGE_WEIGHTS, "distribution")


def without_dropout(model: nn.Module) -> None:
    """Turn off the chance inside the network, in this process for good."""
    wide_deep._PIECE_DROPOUT = 0.0
    for layer in model.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
