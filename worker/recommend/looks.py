"""Looks at what is on offer, each good for a while.

A look depends on no reader, and costs as much as ten pages: where batches are small it is kept, for
`freshness_ms` of the clock and of the news' own time, which runs ahead in a replay. With 0 each
batch has its own, and the same batches give the same pages. Otherwise it is kept for `REST` times
as long as it took, too: with 100,000 articles a click cost 115 us in batches of 2,000, and so 104.
Where weights move faster than what is seen, as from lesson to lesson, a kept look is weighed anew.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.catalogue import Catalogue
from worker.recommend.features import SOURCES
from worker.recommend.layout import Layout
from worker.recommend.moment import Moment, look, reweigh
from worker.recommend.options import Options
from worker.recommend.statistics import Statistics

REST = 9.0
"""So that a tenth of the time is spent on looking, at most."""


class Look(NamedTuple):
    """What was seen from a moment, and by what weights: a page is made by the same all through."""

    moment: Moment
    newest_vectors: NDArray[np.float32]
    """(n, D) of the newest articles."""
    weights: NDArray[np.float64]
    scale: NDArray[np.float64]
    layout: tuple[int, ...]
    num_changes: int
    at_s: float
    """When, by the clock."""
    took_s: float
    """All that was looked for from there, kind by kind of reader."""


class Looks:
    """Look at what is on offer, or remember the last look."""

    def __init__(
        self,
        catalogue: Catalogue,
        statistics: Statistics,
        layout: Layout,
        options: Options,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock_s = clock_s
        self._catalogue = catalogue
        self._statistics = statistics
        self._layout = layout
        self._freshness_ms = options.freshness_ms
        off = [SOURCES[name] for name in options.sources_off]
        self.off = np.array(sorted(set().union(*off)), dtype=np.int64)
        """Features of the sources that are switched off: they weigh nothing."""
        self._last: Look | None = None
        self._is_by_old_weights = False

    def weigh_anew(self) -> None:
        """Heed from the next look on what was learned since the last, though that may be kept."""
        self._is_by_old_weights = True

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Keep in the end what is kept by now: what is looked at meanwhile is for lessons."""
        kept = self._last, self._is_by_old_weights
        try:
            yield
        finally:
            self._last, self._is_by_old_weights = kept

    def at(self, now_ms: int, kinds: NDArray[np.int64]) -> Look:
        """Return what is on offer, in order for these kinds of readers; as seen lately, if so.

        now_ms: the moment the news are seen from. kinds: see `moment.look`.
        """
        statistics, layout = self._statistics, self._layout
        kept, self._last = self._last, None  # an old one is not held while another is made
        if kept is not None and not self._will_do(kept, now_ms):
            kept = None
        began_s = self._clock_s()
        if kept is None:
            weights, scale = self._weights(), statistics.scale
            num_changes, at_s, took_s = statistics.num_changes, began_s, 0.0
        else:
            _, _, weights, scale, _, num_changes, at_s, took_s = kept
            if self._is_by_old_weights:
                weights = self._weights()
                kept = kept._replace(moment=reweigh(kept.moment, weights))
                began_s = self._clock_s()  # it is as old as before, and no dearer
        self._is_by_old_weights = False
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
        took_s += self._clock_s() - began_s
        vectors = layout.articles.vectors[moment.newest] if kept is None else kept.newest_vectors
        self._last = Look(moment, vectors, weights, scale, layout.state, num_changes, at_s, took_s)
        return self._last

    def _will_do(self, kept: Look, now_ms: int) -> bool:
        if kept.layout != self._layout.state:
            return False
        later_ms = now_ms - kept.moment.now_ms
        if later_ms == 0 and kept.num_changes == self._statistics.num_changes:
            return True
        if not self._freshness_ms or later_ms < 0:
            return False
        age_ms = (self._clock_s() - kept.at_s) * 1000
        if age_ms < REST * kept.took_s * 1000:
            return True
        return later_ms < self._freshness_ms and age_ms < self._freshness_ms

    def _weights(self) -> NDArray[np.float64]:
        weights = self._statistics.blend.weights.copy()
        weights[:, self.off] = 0.0
        return weights
