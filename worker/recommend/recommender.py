"""From what readers have read to what they are offered: the recommendation pipeline on one screen.

hydrate     readers' clicks, interests, taste; articles' tags, languages, vectors
candidates  ┐
features    │ compiled, reader by reader: `rank`
scores      ┘
select      diversity and caps: `selection`; a little exploration: `exploration`
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from worker.catalogue import Catalogue
from worker.reading import Reading, languages_read
from worker.recommend.barred import Limits, barred_rows
from worker.recommend.co_clicks import rarities
from worker.recommend.exploration import explore
from worker.recommend.features import (
    NUM_FEATURES,
    NUM_READER,
    NUM_STEPS,
    SOURCES,
)
from worker.recommend.layout import Layout
from worker.recommend.lessons import learn_click, learn_shown
from worker.recommend.looks import Look, Looks
from worker.recommend.moment import kinds_of
from worker.recommend.options import Options
from worker.recommend.pages import Lesson, Ranked, Tastes
from worker.recommend.rank import describe, explain, rank_readers, strongest_links
from worker.recommend.reader_features import mean_vectors, most_alike
from worker.recommend.readers import Kind, Readers, only
from worker.recommend.segments import segment_lift
from worker.recommend.selection import select
from worker.recommend.statistics import Statistics

CONSIDERED = 3
"""How many times the page's length is put before the selection."""

TASTE_CLICKS = 20
NEAR = 8
"""Candidates for what they are about, of the newest articles."""

_SOURCE_OF = np.zeros(NUM_FEATURES, dtype=np.int64)
for _number, _features in enumerate(SOURCES.values()):
    _SOURCE_OF[list(_features)] = _number


class Recommender:
    """Rank articles for batches of readers, from statistics that all workers share."""

    def __init__(
        self,
        catalogue: Catalogue,
        statistics: Statistics,
        options: Options,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.catalogue = catalogue
        self.statistics = statistics
        self.options = options
        self._layout = Layout(catalogue, statistics, options)
        self._lift: NDArray[np.float32] = np.zeros((0, 0), dtype=np.float32)
        self._lift_counted = 0
        self._looks = Looks(catalogue, statistics, self._layout, options, clock_s)

    def lay_out(self) -> None:
        """Lay out what is known by now: half a second of 100,000 articles, once."""
        self._layout.follow()

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
        seen, readers = self._hydrate(reading, tastes, now_ms)
        moment, weights, scale = seen.moment, seen.weights, seen.scale
        if limits is not None:
            starts, rows = barred_rows(limits, self.catalogue, self.options.filters, now_ms)
            readers = readers._replace(barred_starts=starts, barred=self._layout.item_of_row[rows])
        shape = (len(tastes.interests), CONSIDERED * k)
        best = np.full(shape, -1, dtype=np.int64)
        scores = np.zeros(shape, dtype=np.float32)
        own = np.zeros((*shape, NUM_READER), dtype=np.float32)
        items, co, articles = self.statistics.items, self.statistics.co, self._layout.articles
        rank_readers(moment, items, co, articles, readers, weights, scale, best, scores, own)
        options = self.options.selection
        source = np.zeros(shape, dtype=np.int64)
        common = np.zeros((shape[0], NUM_FEATURES))
        if options.max_per_source:
            all_features = np.zeros((*shape, NUM_FEATURES), dtype=np.float32)
            all_weights = np.zeros((*shape, NUM_FEATURES))
            explain(best, own, moment, readers, weights, scale, all_features, all_weights, common)
            source = _SOURCE_OF[(all_features * all_weights).argmax(axis=2)]
        chosen = np.full((shape[0], k), -1, dtype=np.int64)
        select(
            best,
            scores,
            source,
            articles,
            options.diversity,
            options.max_per_tag,
            options.max_per_source,
            chosen,
        )
        at = np.arange(shape[0])[:, None]
        page = np.where(chosen < 0, -1, best[at, chosen])
        page_scores = np.where(chosen < 0, np.float32(0.0), scores[at, chosen])
        page_features = np.zeros((*page.shape, NUM_FEATURES), dtype=np.float32)
        page_weights = np.zeros((*page.shape, NUM_FEATURES))
        explain(
            page,
            own[at, chosen],
            moment,
            readers,
            weights,
            scale,
            page_features,
            page_weights,
            common,
        )
        explored = np.zeros(page.shape, dtype=np.bool_)
        if seeds is not None and options.explore_share:
            explored = explore(
                page,
                page_scores,
                page_features,
                moment,
                items,
                articles,
                readers,
                seeds,
                options.explore_share,
            )
        links = np.full(page.shape, -1, dtype=np.int64)
        strongest_links(items, co, readers, page, links)
        rows, linked = self._rows_of(page), self._rows_of(links)
        return Ranked(rows, page_scores, page_features, page_weights, common, linked, explored)

    def _rows_of(self, articles: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the catalogue rows of articles; -1 stands for none in both."""
        row_of = self._layout.row_of
        return np.where(articles < 0, -1, row_of[articles]) if len(row_of) else articles

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
        seen, readers = self._hydrate(reading, tastes, now_ms)
        table = np.zeros((len(rows), NUM_FEATURES), dtype=np.float32)
        describe(
            self._layout.item_of_row[rows],
            seen.moment,
            self.statistics.items,
            self.statistics.co,
            self._layout.articles,
            readers,
            seen.scale,
            table,
        )
        scores: NDArray[np.float64] = table @ seen.weights[-1]
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
        seen, readers = self._hydrate(before, tastes, now_ms)
        stamps = np.zeros(len(seen.moment.open), dtype=np.int64)
        rare = rarities(self.statistics.co)
        lessons = []
        for reader, row in enumerate(clicked.tolist()):
            gradient = np.zeros((NUM_STEPS, NUM_FEATURES))
            spread = np.zeros(NUM_FEATURES)
            kind = Kind(0, 0)
            if row >= 0:
                kind = learn_click(
                    reader,
                    int(self._layout.item_of_row[row]),
                    seen.moment,
                    self.statistics.items,
                    self.statistics.co,
                    rare,
                    self._layout.articles,
                    readers,
                    seen.weights,
                    seen.scale,
                    stamps,
                    reader + 1,
                    gradient,
                    spread,
                )
                gradient[:, self._looks.off] = 0.0
            lessons.append(Lesson(gradient, spread, kind))
        return lessons

    @contextmanager
    def rehearsal(self) -> Iterator[Callable[[Sequence[Lesson]], None]]:
        """Yield what learns lessons, so that those that follow are made by the weights after them.

        In the end all is as it was: what counts is what comes by the click log.
        """

        def learn(lessons: Sequence[Lesson]) -> None:
            for lesson in lessons:
                if lesson.gradient.any():
                    # In single precision, as it comes by the log.
                    gradient = lesson.gradient.astype(np.float32)
                    spread = lesson.spread.astype(np.float32)
                    self.statistics.learn(gradient, spread, *lesson.kind)
            self._looks.weigh_anew()

        with self._looks.aside(), self.statistics.rehearsal():
            yield learn

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
        items = self._layout.item_of_row[rows]
        self.statistics.count_impression(items, clicked, self.catalogue.terms[rows])

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
        seen, readers = self._hydrate(reading, tastes, now_ms)
        gradients: list[NDArray[np.float64] | None] = []
        for reader, (rows, clicked) in enumerate(shown):
            gradient = None
            if clicked.any() and not clicked.all():
                gradient = learn_shown(
                    seen.moment,
                    self.statistics.items,
                    self.statistics.co,
                    self._layout.articles,
                    only(readers, reader),
                    seen.scale,
                    seen.weights[-1],
                    self._layout.item_of_row[rows],
                    clicked,
                )
                gradient[self._looks.off] = 0.0
            gradients.append(gradient)
        return gradients

    def _hydrate(
        self,
        reading: Reading,
        tastes: Tastes,
        now_ms: int,
    ) -> tuple[Look, Readers]:
        self._layout.follow()
        layout, articles = self._layout, self._layout.articles
        num_readers = len(tastes.interests)
        nothing = np.zeros((num_readers, 1), dtype=np.float32)
        affinity = tastes.affinity
        if tastes.membership is not None:
            affinity = affinity + self._segment_affinity(tastes.membership)
        languages = languages_read(reading, self.catalogue)
        if self.options.filters.other_languages:
            languages = np.ones_like(languages)
        starts, items, times_ms = layout.distinct_clicks(reading)
        newest_ms = np.append(times_ms, 0)[starts[:-1]]
        gaps_ms = np.where(np.diff(starts) > 0, now_ms - newest_ms, np.iinfo(np.int64).max)
        seen = self._looks.at(now_ms, kinds_of(np.diff(starts), gaps_ms))
        taste = np.zeros((num_readers, articles.vectors.shape[1]), dtype=np.float32)
        mean_vectors(starts, items, articles.vectors, TASTE_CLICKS, taste)
        readers = Readers(
            starts,
            items,
            times_ms,
            np.concatenate([tastes.interests, nothing], axis=1),
            np.concatenate([affinity.astype(np.float32), nothing], axis=1),
            languages,
            taste,
            self._near(taste, seen),
            np.zeros(num_readers + 1, dtype=np.int64),
            np.empty(0, dtype=np.int64),
        )
        return seen, readers

    def _near(self, tastes: NDArray[np.float32], seen: Look) -> NDArray[np.int64]:
        """Return the newest articles that are most about what each reader reads, (B, NEAR)."""
        recent = seen.moment.newest
        if "content" in self.options.sources_off or len(recent) <= NEAR or not tastes.any():
            return np.empty((len(tastes), 0), dtype=np.int64)
        nearest = np.empty((len(tastes), NEAR), dtype=np.int64)
        most_alike(tastes @ seen.newest_vectors.T, nearest)
        near: NDArray[np.int64] = recent[nearest].astype(np.int64)
        return near

    def _segment_affinity(self, membership: NDArray[np.float32]) -> NDArray[np.float32]:
        statistics, names = self.statistics, self.catalogue.tag_names
        kept = self._lift
        # A table over all tags: renewed when it has changed by a hundredth.
        last = self._lift_counted
        due = not last <= statistics.num_counted <= 1.01 * last or len(kept) != len(names)
        if due or kept.shape[1] != membership.shape[1]:
            kept = segment_lift(statistics.tag_counts, names, membership.shape[1]).T
            self._lift, self._lift_counted = kept, statistics.num_counted
        affinity: NDArray[np.float32] = membership @ kept.T
        return affinity
