"""Filters of articles: what nobody is shown. What one reader is not shown is in `barred`."""

import numpy as np
from numpy.typing import NDArray

from worker.catalogue import Catalogue
from worker.recommend.options import Filters


def may_show(catalogue: Catalogue, filters: Filters) -> NDArray[np.bool_]:
    """Return which articles of the catalogue may be shown, (M,) bool, whatever their age."""
    shown = np.ones(len(catalogue), dtype=np.bool_)
    shown[catalogue.withdrawn_rows()] = False
    if not filters.blocked_tags and not filters.blocked_articles:
        return shown
    for row, article in enumerate(catalogue.articles):
        if article.article_id in filters.blocked_articles or not filters.blocked_tags.isdisjoint(
            article.tags
        ):
            shown[row] = False
    return shown
