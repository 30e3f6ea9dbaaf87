"""Looks at what is on offer, each good for a while.

A look depends on no reader, and costs as much as ten pages: where batches are small it is kept.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.catalogue import Catalogue
from worker.recommend.features import SOURCES
from worker.recommend.layout import Layout
from worker.recommend.moment import Moment, look
from worker.recommend.options import Options
from worker.recommend.statistics import Statistics


class Look(NamedTuple):
    """What was seen from a moment, and by what weights: a page is made by the same all through."""

    moment: Moment
    weights: NDArray[np.float64]
    scale: NDArray[np.float64]
    layout: tuple[int, ...]


class Looks:
    """Look at what is on offer, or remember the last look."""

    def __init__(
        self, catalogue: Catalogue, statistics: Statistics, layout: Layout, options: Options
    ) -> None:
        self._catalogue = catalogue
        self._statistics = statistics
        self._layout = layout
        self._freshness_ms = options.freshness_ms
        off = [SOURCES[name] for name in options.sources_off]
        self.off = np.array(sorted(set().union(*off)), dtype=np.int64)
        """Features of the sources that are switched off: they weigh nothing."""
        self._last: Look | None = None
        self._asked = (0, 0)

    def at(self, now_ms: int, kinds: NDArray[np.int64]) -> Look:
        """Return what is on offer, in order for these kinds of readers; as seen lately, if so.

        now_ms: the moment the news are seen from. kinds: see `moment.look`.
        """
        statistics, layout = self._statistics, self._layout
        kept, self._last = self._last, None  # an old one is not held while another is made
        if kept is not None and not self._will_do(kept, now_ms):
            kept = None
        if kept is None:
            weights, scale = self._weights(), statistics.scale
        else:
            weights, scale = kept.weights, kept.scale
        moment = look(
            statistics.items,
            len(layout.row_of),
            layout.shown_at(now_ms),
            layout.published_ms,
            layout.articles.tags,
            layout.terms,
            statistics.terms,
            len(self._catalogue.tag_names),
            weights,
            scale,
            kinds,
            now_ms,
            None if kept is None else kept.moment,
        )
        self._last = Look(moment, weights, scale, layout.state)
        self._asked = now_ms, statistics.num_changes
        return self._last

    def _will_do(self, kept: Look, now_ms: int) -> bool:
        if kept.layout != self._layout.state:
            return False
        asked_ms, num_changes = self._asked
        if now_ms == asked_ms:
            # The time of the news stands still while nobody clicks: what changes meanwhile counts.
            return num_changes == self._statistics.num_changes
        return 0 <= now_ms - kept.moment.now_ms < self._freshness_ms

    def _weights(self) -> NDArray[np.float64]:
        weights = self._statistics.blend.weights.copy()
        weights[:, self.off] = 0.0
        return weights
