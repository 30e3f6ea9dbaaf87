"""A linear item-item model in closed form, refitted now and then from the co-click counts.

EASE (Steck, "Embarrassingly shallow autoencoders for sparse data", 2019): the weights by which
the clicks of a reader predict each other, with a ridge penalty. Better than plain co-click counts
where a catalogue stays, because it discounts what is explained by other clicks already.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.recommend.state import NUM_NEIGHBOURS, CoClicks

PENALTY = 10.0
"""In mean clicks of an article, so that it grows with the stream."""

MIN_CLICKS = 2
MAX_MODELLED = 2048


class ItemModel(NamedTuple):
    """See `CoClicks.model` and `CoClicks.model_neighbours`."""

    weights: NDArray[np.float32]
    neighbours: NDArray[np.int32]


def fit_item_model(co: CoClicks) -> ItemModel:
    """Return the model of the counts as they are. Takes n³ steps for n articles.

    Of counts that have no model, such as singular ones, an empty model.
    """
    fitted = ItemModel(np.zeros_like(co.model), np.full_like(co.model_neighbours, -1))
    active = np.flatnonzero((co.item >= 0) & (co.clicks >= MIN_CLICKS))
    if len(active) > MAX_MODELLED:
        active = np.sort(active[np.argsort(-co.clicks[active], kind="stable")[:MAX_MODELLED]])
    if len(active) < 2:
        return fitted
    gram = co.together[np.ix_(active, active)].astype(np.float64)
    clicks = co.clicks[active].astype(np.float64)
    np.fill_diagonal(gram, clicks + PENALTY * clicks.mean())
    try:
        precision = np.linalg.inv(gram)
    except np.linalg.LinAlgError:
        return fitted
    model = -precision / np.diag(precision)
    np.fill_diagonal(model, 0.0)
    if not np.isfinite(model).all():
        return fitted
    fitted.weights[np.ix_(active, active)] = model.astype(np.float32)
    count = min(NUM_NEIGHBOURS, len(active) - 1)
    top = np.argpartition(-model, count - 1, axis=1)[:, :count]
    strength = np.take_along_axis(model, top, axis=1)
    order = np.argsort(-strength, axis=1, kind="stable")
    near = np.where(
        np.take_along_axis(strength, order, axis=1) > 0,
        active[np.take_along_axis(top, order, axis=1)],
        -1,
    )
    fitted.neighbours[active, :count] = near.astype(np.int32)
    return fitted
