"""A linear item-item model in closed form, refitted now and then from the co-click counts.

EASE (Steck, "Embarrassingly shallow autoencoders for sparse data", 2019): the weights by which
the clicks of a reader predict each other, with a ridge penalty. Better than plain co-click counts
where a catalogue stays, because it discounts what is explained by other clicks already.
"""

import numpy as np
from numpy.typing import NDArray

from worker.recommend.state import CoClicks

PENALTY = 10.0
"""In mean clicks of an article, so that it grows with the stream."""

MIN_CLICKS = 2
MAX_MODELLED = 2048


def fit_item_model(co: CoClicks) -> NDArray[np.float32]:
    """Return the model of the counts as they are, (S, S); see `CoClicks.model`.

    Takes n³ steps for n articles.

    Of counts that have no model, such as singular ones, an empty model.
    """
    fitted = np.zeros_like(co.model)
    active = np.flatnonzero((co.item >= 0) & (co.clicks >= MIN_CLICKS))
    if len(active) > MAX_MODELLED:
        active = np.sort(active[np.argsort(-co.clicks[active], kind="stable")[:MAX_MODELLED]])
    if len(active) < 2:
        return fitted
    # In single precision: the penalty keeps what is inverted far from singular.
    gram = co.together[np.ix_(active, active)]
    clicks = co.clicks[active]
    np.fill_diagonal(gram, clicks + PENALTY * clicks.mean())
    try:
        precision = np.linalg.inv(gram)
    except np.linalg.LinAlgError:
        return fitted
    model = -precision / np.diag(precision)
    np.fill_diagonal(model, 0.0)
    if not np.isfinite(model).all():
        return fitted
    fitted[np.ix_(active, active)] = model
    return fitted
