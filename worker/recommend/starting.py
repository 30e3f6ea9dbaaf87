"""Where a blend begins: with what was learned from another stream, or with round numbers."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from schemas.bundle import BLEND_FILE, LearnedBlend
from schemas.errors import BundleError
from worker.recommend.features import FEATURES, NUM_FEATURES, NUM_WEIGHT_ROWS, ROW_NAMES
from worker.recommend.state import BlendState

STARTING_WEIGHTS = {
    "trending-1h": 0.05,
    "trending-6h": 0.1,
    "trending-24h": 0.1,
    "trending-168h": 0.05,
    "popular": 0.05,
    "age": -0.2,
    "newcomers-24h": 0.05,
    "next": 0.1,
    "together-recently": 0.2,
    "together": 0.3,
    "item-model": 0.2,
    "tags": 0.1,
    "readers-like-you": 0.05,
    "content": 0.1,
    "click-through": 0.1,
    "hot-terms": 0.05,
    "appeal": 0.1,
}
"""Of a blend that no stream has taught yet: round numbers, the same for every set."""

USUAL_DEVIATIONS = {
    "next": 0.1,
    "together-recently": 0.2,
    "together": 0.3,
    "item-model": 0.03,
    "new-since-visit": 0.2,
    "tags": 0.1,
    "readers-like-you": 0.1,
    "content": 0.1,
    "hot-terms": 0.1,
    "appeal": 0.1,
}
"""What features deviate by within a choice, for as long as little has been seen; others by 1."""

NOTHING_LEARNED = LearnedBlend(
    features=[], rows=[], weights=[], deviations=[], num_clicks=0, dataset=""
)

USUAL_FOR = 20.0
"""Choices that they stand for."""

FIRST_SQUARES = 10.0
"""Of the gradients, before any: what keeps the first steps short."""

_LEAST_DEVIATION = 1e-4


def starting_blend(over: Mapping[str, float], learned: LearnedBlend | None = None) -> BlendState:
    """Return the blend to begin with.

    over: common weights in place of the usual ones. learned: from another stream; what it does
    not name begins as usual.
    """
    weights = np.zeros((NUM_WEIGHT_ROWS, NUM_FEATURES))
    for name, weight in STARTING_WEIGHTS.items():
        weights[0, FEATURES.index(name)] = weight
    # What is clicked when it is shown: to begin with, that alone.
    weights[-1, FEATURES.index("appeal")] = 1.0
    usual = np.array([USUAL_DEVIATIONS.get(name, 1.0) for name in FEATURES])
    if learned is not None:
        places = {name: at for at, name in enumerate(learned.features)}
        known = [at for at, name in enumerate(FEATURES) if name in places]
        theirs = [places[FEATURES[at]] for at in known]
        usual[known] = np.array(learned.deviations)[theirs]
        rows = {name: at for at, name in enumerate(learned.rows)}
        for at, name in enumerate(ROW_NAMES):
            if name in rows:
                weights[at, known] = np.array(learned.weights[rows[name]])[theirs]
    for name, weight in over.items():
        weights[0, FEATURES.index(name)] = weight
    scale = USUAL_FOR * np.stack([usual**2, np.ones(len(usual))])
    return BlendState(weights, np.full(weights.shape, FIRST_SQUARES), scale)


def scale_of(blend: BlendState) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the factors of the features, (F,).

    A feature that has never told articles apart has the factor 0.
    """
    deviations = deviations_of(blend)
    return np.where(deviations > _LEAST_DEVIATION, 1.0 / np.maximum(deviations, 1e-12), 0.0)


def deviations_of(blend: BlendState) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return what each feature usually deviates by within a choice, (F,)."""
    variances, nums = blend.scale
    deviations: np.ndarray[tuple[int], np.dtype[np.float64]] = np.sqrt(variances / nums)
    return deviations


def learned_from(blend: BlendState, num_clicks: int, dataset: str) -> LearnedBlend:
    """Return what a blend has learned, by name."""
    return LearnedBlend(
        features=list(FEATURES),
        rows=list(ROW_NAMES),
        weights=blend.weights.round(6).tolist(),
        deviations=deviations_of(blend).round(6).tolist(),
        num_clicks=num_clicks,
        dataset=dataset,
    )


def load_blend(bundle: Path) -> LearnedBlend | None:
    """Return the blend of a bundle whose files have been verified; None where it has none.

    Raises:
        BundleError: when the file is not one this version understands.
    """
    path = bundle / BLEND_FILE
    try:
        learned = msgspec.json.decode(path.read_bytes(), type=LearnedBlend)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise BundleError(f"{path}: {error}") from error
    sizes = {len(row) for row in learned.weights} | {len(learned.deviations)}
    if sizes != {len(learned.features)} or len(learned.weights) != len(learned.rows):
        raise BundleError(f"{path}: the weights do not fit their names")
    if not np.isfinite(learned.weights).all() or not np.isfinite(learned.deviations).all():
        raise BundleError(f"{path}: a weight is not finite")
    return learned
