"""From what readers have read to what they are offered: the recommendation pipeline on one screen.

hydrate     readers' clicks, interests, taste; articles' tags, languages, vectors
candidates  ┐
features    │ compiled, reader by reader: `rank`
scores      ┘
select      diversity and caps: `selection`; a little exploration: `exploration`
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.catalogue import UNPUBLISHED_MS, Catalogue
from worker.reading import Reading, languages_read
from worker.recommend.barred import Limits, barred_rows
from worker.recommend.candidates import Articles, Kind, Readers, only
from worker.recommend.exploration import explore
from worker.recommend.features import (
    NUM_AGES,
    NUM_FEATURES,
    NUM_QUIETS,
    NUM_READER,
    SOURCES,
)
from worker.recommend.filters import may_show
from worker.recommend.lessons import learn_click, learn_shown
from worker.recommend.moment import Moment, kinds_of, look
from worker.recommend.options import Options
from worker.recommend.rank import describe, rank_readers, strongest_links
from worker.recommend.reader_features import mean_vectors
from worker.recommend.segments import segment_lift
from worker.recommend.selection import select
from worker.recommend.statistics import Statistics

CONSIDERED = 3
"""How many times the page's length is put before the selection."""

TASTE_CLICKS = 20

_SOURCE_OF = np.zeros(NUM_FEATURES, dtype=np.int64)
for _number, _features in enumerate(SOURCES.values()):
    _SOURCE_OF[list(_features)] = _number


class Ranked(NamedTuple):
    """The pages of B readers, best first.

    Attributes:
        rows: (B, k) int64 catalogue rows, -1 where there is no more.
        scores: (B, k) float32, log of how much likelier than the average article it is clicked.
        features: (B, k, F) float32, standardised.
        weights: (B, k, F) float64, of each article for the reader.
        linked: (B, k) int64 row of the clicked article that it is most co-clicked with, or -1.
        explored: (B, k) bool, whether it is shown to learn about it.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    features: NDArray[np.float32]
    weights: NDArray[np.float64]
    linked: NDArray[np.int64]
    explored: NDArray[np.bool_]

    @property
    def shares(self) -> NDArray[np.float64]:
        """What of the score comes from each feature, (B, k, F); they add up to it."""
        return self.features * self.weights


class Tastes(NamedTuple):
    """What the profiles of B readers say of G tags.

    Attributes:
        interests: (B, G) float32, the reader's own interest in each tag.
        affinity: (B, G) float32, what readers like this one like, as the bundle knows it.
        membership: (B, S) float32 in the segments of readers; None without inferred profiles.
    """

    interests: NDArray[np.float32]
    affinity: NDArray[np.float32]
    membership: NDArray[np.float32] | None


class Lesson(NamedTuple):
    """What the blend learns from a click; see `lessons.learn_click`.

    Attributes:
        gradient: (NUM_AGES + NUM_QUIETS, F).
        spread: (2, R).
        kind: the reader's.
    """

    gradient: NDArray[np.float64]
    spread: NDArray[np.float64]
    kind: Kind


class Recommender:
    """Rank articles for batches of readers, from statistics that all workers share."""

    def __init__(self, catalogue: Catalogue, statistics: Statistics, options: Options) -> None:
        self.catalogue = catalogue
        self.statistics = statistics
        self.options = options
        off = [SOURCES[name] for name in options.sources_off]
        self._off = np.array(sorted(set().union(*off)), dtype=np.int64)
        self._known: tuple[int, int] = (-1, -1)
        self._lift: NDArray[np.float32] = np.zeros((0, 0), dtype=np.float32)
        self._lift_counted = 0
        self._moment: tuple[tuple[int, ...], Moment] | None = None
        self._articles: Articles
        self._row_of: NDArray[np.int64]
        self._published_ms: NDArray[np.int64]
        self._may_show: NDArray[np.bool_]
        self._item_of_row: NDArray[np.int64]

    def rank(
        self,
        reading: Reading,
        tastes: Tastes,
        now_ms: int,
        k: int,
        seeds: NDArray[np.int64] | None = None,
        limits: Limits | None = None,
    ) -> Ranked:
        """Return the pages of B readers.

        now_ms: the moment the news are seen from. seeds: (B,) int64, what exploration draws
        from; None for no exploration. limits: what is kept of the readers beside their clicks.
        """
        moment, readers = self._hydrate(reading, tastes, now_ms)
        if limits is not None:
            starts, rows = barred_rows(limits, self.catalogue, self.options.filters, now_ms)
            readers = readers._replace(barred_starts=starts, barred=self._item_of_row[rows])
        shape = (len(tastes.interests), CONSIDERED * k)
        best = np.full(shape, -1, dtype=np.int64)
        scores = np.zeros(shape, dtype=np.float32)
        features = np.zeros((*shape, NUM_FEATURES), dtype=np.float32)
        items, co, weights = self.statistics.items, self.statistics.co, self._weights()
        used = np.zeros((*shape, NUM_FEATURES))
        rank_readers(
            moment,
            items,
            co,
            self._articles,
            readers,
            weights,
            self.statistics.scale,
            best,
            scores,
            features,
            used,
        )
        chosen = np.full((shape[0], k), -1, dtype=np.int64)
        options = self.options.selection
        select(
            best,
            scores,
            _SOURCE_OF[(features * used).argmax(axis=2)],
            self._articles,
            options.diversity,
            options.max_per_tag,
            options.max_per_source,
            chosen,
        )
        at = np.arange(shape[0])[:, None]
        missing = chosen < 0
        page = np.where(missing, -1, best[at, chosen])
        page_scores, page_features = scores[at, chosen], features[at, chosen]
        page_weights = used[at, chosen]
        page_scores[missing] = 0.0
        page_features[missing] = 0.0
        explored = np.zeros(page.shape, dtype=np.bool_)
        if seeds is not None and options.explore_share:
            explored = explore(
                page,
                page_scores,
                page_features,
                moment,
                items,
                self._articles,
                readers,
                seeds,
                options.explore_share,
            )
        links = np.full(page.shape, -1, dtype=np.int64)
        strongest_links(items, co, readers, page, links)
        row_of = np.append(self._row_of, -1)  # -1 stands for nothing there, too
        rows, linked = row_of[page], row_of[links]
        return Ranked(rows, page_scores, page_features, page_weights, linked, explored)

    def score(
        self,
        reading: Reading,
        tastes: Tastes,
        now_ms: int,
        rows: NDArray[np.int64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Return the scores (C,) of given articles for one reader, and their features (C, F).

        They answer which of these, all of them shown, the reader will click: by the weights of
        impressions.
        """
        moment, readers = self._hydrate(reading, tastes, now_ms)
        table = np.zeros((len(rows), NUM_FEATURES), dtype=np.float32)
        describe(
            self._item_of_row[rows],
            moment,
            self.statistics.items,
            self.statistics.co,
            self._articles,
            readers,
            self.statistics.scale,
            table,
        )
        scores: NDArray[np.float64] = table @ self._weights()[-1]
        return scores, table

    def lessons(
        self,
        before: Reading,
        tastes: Tastes,
        now_ms: int,
        clicked: NDArray[np.int64],
    ) -> list[Lesson]:
        """Return what the blend learns from one click of each of B readers.

        before: what they had read before it; tastes: as of then. clicked: (B,) int64
        catalogue rows, -1 for an article that is not known: nothing is learned from it.
        """
        moment, readers = self._hydrate(before, tastes, now_ms)
        stamps = np.zeros(len(moment.open), dtype=np.int64)
        weights = self._weights()
        lessons = []
        for reader, row in enumerate(clicked.tolist()):
            gradient = np.zeros((NUM_AGES + NUM_QUIETS, NUM_FEATURES))
            spread = np.zeros((2, NUM_READER))
            kind = Kind(0, 0)
            if row >= 0:
                kind = learn_click(
                    reader,
                    int(self._item_of_row[row]),
                    moment,
                    self.statistics.items,
                    self.statistics.co,
                    self._articles,
                    readers,
                    weights,
                    self.statistics.scale,
                    stamps,
                    reader + 1,
                    gradient,
                    spread,
                )
                gradient[:, self._off] = 0.0
            lessons.append(Lesson(gradient, spread, kind))
        return lessons

    def learn_impression(
        self,
        reading: Reading,
        tastes: Tastes,
        now_ms: int,
        rows: NDArray[np.int64],
        clicked: NDArray[np.bool_],
    ) -> None:
        """Learn from what one reader was shown, (C,) rows, and which of it was clicked, (C,).

        Each click is a choice among itself and what was not clicked.
        """
        (gradient,) = self.impression_lessons(reading, tastes, now_ms, [(rows, clicked)])
        if gradient is not None:
            self.statistics.learn_shown(gradient)
        self.statistics.count_impression(self._item_of_row[rows], clicked)

    def impression_lessons(
        self,
        reading: Reading,
        tastes: Tastes,
        now_ms: int,
        shown: Sequence[tuple[NDArray[np.int64], NDArray[np.bool_]]],
    ) -> list[NDArray[np.float64] | None]:
        """Return the gradient, (F,), of what each of B readers was shown, by impression weights.

        shown: by reader, catalogue rows (C,) and which were clicked (C,). None where all or none.
        """
        moment, readers = self._hydrate(reading, tastes, now_ms)
        weight = self._weights()[-1]
        gradients: list[NDArray[np.float64] | None] = []
        for reader, (rows, clicked) in enumerate(shown):
            gradient = None
            if clicked.any() and not clicked.all():
                gradient = learn_shown(
                    moment,
                    self.statistics.items,
                    self.statistics.co,
                    self._articles,
                    only(readers, reader),
                    self.statistics.scale,
                    weight,
                    self._item_of_row[rows],
                    clicked,
                )
                gradient[self._off] = 0.0
            gradients.append(gradient)
        return gradients

    def _weights(self) -> NDArray[np.float64]:
        weights = self.statistics.blend.weights
        if not len(self._off):
            return weights
        weights = weights.copy()
        weights[:, self._off] = 0.0
        return weights

    def _hydrate(
        self,
        reading: Reading,
        tastes: Tastes,
        now_ms: int,
    ) -> tuple[Moment, Readers]:
        self._follow_catalogue()
        catalogue, articles = self.catalogue, self._articles
        num_items = len(self._row_of)
        shown = self._may_show
        if self.options.filters.max_age_days is not None:
            oldest_ms = now_ms - int(self.options.filters.max_age_days * 86_400_000)
            shown = shown & ((self._published_ms < 0) | (self._published_ms >= oldest_ms))
        num_readers = len(tastes.interests)
        nothing = np.zeros((num_readers, 1), dtype=np.float32)
        affinity = tastes.affinity
        if tastes.membership is not None:
            affinity = affinity + self._segment_affinity(tastes.membership)
        languages = languages_read(reading, catalogue)
        if self.options.filters.other_languages:
            languages = np.ones_like(languages)
        starts, items, times_ms = self._distinct_clicks(reading)
        newest_ms = np.append(times_ms, 0)[starts[:-1]]
        gaps_ms = np.where(np.diff(starts) > 0, now_ms - newest_ms, np.iinfo(np.int64).max)
        state = (now_ms, self.statistics.num_changes, *self._known, num_items)
        moment = look(
            self.statistics.items,
            num_items,
            shown,
            self._published_ms,
            articles.tags,
            len(catalogue.tag_names),
            self._weights(),
            kinds_of(np.diff(starts), gaps_ms),
            now_ms,
            self._moment[1] if self._moment and self._moment[0] == state else None,
        )
        self._moment = (state, moment)
        readers = Readers(
            starts,
            items,
            times_ms,
            np.concatenate([tastes.interests, nothing], axis=1),
            np.concatenate([affinity.astype(np.float32), nothing], axis=1),
            languages,
            self._tastes(starts, items),
            np.zeros(num_readers + 1, dtype=np.int64),
            np.empty(0, dtype=np.int64),
        )
        return moment, readers

    def _segment_affinity(self, membership: NDArray[np.float32]) -> NDArray[np.float32]:
        statistics, names = self.statistics, self.catalogue.tag_names
        kept = self._lift
        # A table over all tags: renewed when it has changed by a hundredth.
        due = statistics.num_counted > 1.01 * self._lift_counted or len(kept) != len(names)
        if due or kept.shape[1] != membership.shape[1]:
            kept = segment_lift(statistics.tag_counts, names, membership.shape[1]).T
            self._lift, self._lift_counted = kept, statistics.num_counted
        affinity: NDArray[np.float32] = membership @ kept.T
        return affinity

    def _distinct_clicks(
        self, reading: Reading
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return each reader's first click on each known article, newest first."""
        num_readers = len(reading.starts) - 1
        reader_of = np.repeat(np.arange(num_readers), np.diff(reading.starts))
        known = np.flatnonzero(reading.rows >= 0)
        items = self._item_of_row[reading.rows[known]]
        # Of equal pairs the last is the oldest.
        pairs = reader_of[known] * max(len(self._row_of), 1) + items
        _, first = np.unique(pairs[::-1], return_index=True)
        kept = np.sort(len(known) - 1 - first)
        counts = np.bincount(reader_of[known[kept]], minlength=num_readers)
        starts = np.zeros(num_readers + 1, dtype=np.int64)
        np.cumsum(counts, out=starts[1:])
        return starts, items[kept], reading.times_ms[known[kept]]

    def _tastes(self, starts: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.float32]:
        vectors = self._articles.vectors
        tastes = np.zeros((len(starts) - 1, vectors.shape[1]), dtype=np.float32)
        if vectors.shape[1]:
            mean_vectors(starts, items, vectors, TASTE_CLICKS, tastes)
        return tastes

    def _follow_catalogue(self) -> None:
        catalogue, statistics = self.catalogue, self.statistics
        state = (catalogue.num_changes, statistics.num_renumbered)
        if state != self._known:
            self._known = state
            size = len(catalogue)
            refs = catalogue.refs()
            item_of_row = statistics.number(refs)
            published = catalogue.published_ms[:size]
            first_ms = statistics.items.first_ms
            # Known from the moment after its publication; without one, from the beginning.
            known_ms = np.where(published == UNPUBLISHED_MS, 0, published + 1)
            np.minimum.at(first_ms, item_of_row, known_ms)
            self._item_of_row = item_of_row
            self._place_articles()
        elif len(self._row_of) != len(statistics):
            self._place_articles()

    def _place_articles(self) -> None:
        """Lay out what the catalogue knows in the order of the statistics."""
        catalogue, num_items = self.catalogue, len(self.statistics)
        row_of = np.full(num_items, -1, dtype=np.int64)
        row_of[self._item_of_row] = np.arange(len(catalogue))
        known = row_of >= 0
        tags = np.full((num_items, catalogue.tags.shape[1]), -1, dtype=np.int32)
        tags[known] = catalogue.tags[row_of[known]]
        languages = np.full(num_items, -1, dtype=np.int16)
        languages[known] = catalogue.languages[row_of[known]]
        self._published_ms = np.full(num_items, -1, dtype=np.int64)
        self._published_ms[known] = catalogue.published_ms[row_of[known]]
        width = catalogue.rows.shape[1] if self._has_vectors() else 0
        vectors = np.zeros((num_items, width), dtype=np.float32)
        if width:
            found = catalogue.rows[row_of[known]].astype(np.float32)
            norms = np.linalg.norm(found, axis=1, keepdims=True)
            vectors[known] = found / np.where(norms > 0, norms, 1.0)
        self._articles = Articles(tags, languages, vectors)
        self._may_show = np.zeros(num_items, dtype=np.bool_)
        self._may_show[self._item_of_row] = may_show(catalogue, self.options.filters)
        self._row_of = row_of

    def _has_vectors(self) -> bool:
        # The reference model keeps token ids, which point nowhere.
        kept = np.issubdtype(self.catalogue.rows.dtype, np.floating)
        return kept and "content" not in self.options.sources_off
