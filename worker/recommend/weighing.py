"""Weights times features: what a blend makes of an article for a reader, compiled.

A weight is a sum over what is known of the reader and of the article; see
`features.NUM_WEIGHT_ROWS`.
"""

import numpy as np
from numpy.typing import NDArray

from worker.compiled import compiled
from worker.recommend.features import (
    AGE_ROWS,
    GAP_ROWS,
    KIND,
    LENGTH_ROWS,
    NUM_ARTICLE,
    NUM_FEATURES,
    NUM_GAPS,
    NUM_QUIETS,
    NUM_READER,
    QUIET_ROWS,
)
from worker.recommend.moment import Moment
from worker.recommend.readers import Kind


@compiled
def reader_weights(weights: NDArray[np.float64], reader: Kind, out: NDArray[np.float64]) -> None:
    """Write the weights, (F,), for a reader of a kind, whatever the article."""
    for feature in range(NUM_FEATURES):
        out[feature] = (
            weights[0, feature]
            + weights[LENGTH_ROWS + reader.length, feature]
            + weights[GAP_ROWS + reader.gap, feature]
        )


@compiled
def weights_of(
    weights: NDArray[np.float64], reader: Kind, article_kind: int, out: NDArray[np.float64]
) -> None:
    """Write the weights, (F,), of an article of a kind for a reader of a kind."""
    reader_weights(weights, reader, out)
    age, quiet = article_kind // NUM_QUIETS, article_kind % NUM_QUIETS
    for feature in range(NUM_ARTICLE):
        out[feature] += weights[AGE_ROWS + age, feature] + weights[QUIET_ROWS + quiet, feature]


@compiled
def weigh_reader(
    weights: NDArray[np.float64],
    scale: NDArray[np.float64],
    reader: Kind,
    out: NDArray[np.float32],
) -> None:
    """Write what the raw features of a reader of a kind are worth, (R,). scale: (F,) factors."""
    weight = np.empty(NUM_FEATURES)
    reader_weights(weights, reader, weight)
    for feature in range(NUM_READER):
        out[feature] = weight[NUM_ARTICLE + feature] * scale[NUM_ARTICLE + feature]


@compiled
def score_candidates(
    candidates: NDArray[np.int64],
    table: NDArray[np.float32],
    reader: Kind,
    moment: Moment,
    worth: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Write the scores, (C,), of candidates with the readers' features in `table`, (C, R)."""
    of_article = moment.scores[reader.length * NUM_GAPS + reader.gap]
    for c in range(len(candidates)):
        score = of_article[candidates[c]]
        for feature in range(NUM_READER):
            score += worth[feature] * table[c, feature]
        out[c] = score


@compiled
def write_row(
    features: NDArray[np.float32],
    place: int,
    own: NDArray[np.float32],
    scale: NDArray[np.float64],
    out: NDArray[np.float32],
) -> None:
    """Write all features, (F,): those of an article, and raw ones of a reader, (R,).

    features: (A, M) of the articles on offer; place: among them, -1 of one that is not.
    """
    for feature in range(NUM_ARTICLE):
        out[feature] = features[feature, place] if place >= 0 else 0.0
    if place < 0:
        out[KIND] = scale[KIND]
    for feature in range(NUM_READER):
        out[NUM_ARTICLE + feature] = own[feature] * scale[NUM_ARTICLE + feature]
