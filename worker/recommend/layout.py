"""What the catalogue knows, laid out in the order of the statistics: for compiled functions."""

import numpy as np
from numpy.typing import NDArray

from worker.catalogue import NO_LANGUAGE, NO_TAG, UNPUBLISHED_MS, Catalogue
from worker.reading import Reading
from worker.recommend.filters import may_show
from worker.recommend.options import Options
from worker.recommend.state import Articles
from worker.recommend.statistics import Statistics
from worker.terms import NO_TERM, NUM_TERMS, TEXT_WIDTH, rarity_of, tag_term, text_vectors

RARITY_GROWTH = 1.25
"""By how much the catalogue grows until it is counted again how rare each term is."""

MS_PER_DAY = 86_400_000


class Layout:
    """Articles by the numbers that the statistics give them; follows both.

    Attributes:
        articles: see `state.Articles`.
        item_of_row: (M,) int64, the number of each catalogue row.
        row_of: (N,) int64, the catalogue row of each number, -1 where the catalogue has none.
        published_ms: (N,) int64, -1 where not known.
        may_show: (N,) bool, what the filters of articles let through, whatever its age.
        state: changes with any of these.
    """

    def __init__(self, catalogue: Catalogue, statistics: Statistics, options: Options) -> None:
        self._catalogue = catalogue
        self._statistics = statistics
        self._options = options
        self._is_tag = np.zeros(NUM_TERMS + 1, dtype=np.bool_)
        self._rarity = np.zeros(NUM_TERMS, dtype=np.float32)
        self._weighed = 0
        self.state = (-1, -1, -1)
        self.articles = Articles(
            catalogue.tags[:0],
            catalogue.languages[:0],
            catalogue.terms[:0],
            np.empty((0, TEXT_WIDTH), dtype=np.float32),
        )
        self.item_of_row: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self.row_of: NDArray[np.int64]
        self.published_ms: NDArray[np.int64]
        self.may_show: NDArray[np.bool_]

    def follow(self) -> None:
        """Lay out what has changed since the last call."""
        catalogue, statistics = self._catalogue, self._statistics
        changes = (catalogue.num_changes, statistics.num_renumbered)
        if changes == self.state[:2] and len(statistics) == self.state[2]:
            return
        if changes == self.state[:2]:
            vectors = self.articles.vectors[self.item_of_row]
        else:
            vectors = self._describe()
            self._number()
        self._place(vectors)
        self.state = (*changes, len(statistics))

    def shown_at(self, now_ms: int) -> NDArray[np.bool_]:
        """Return which articles the filters let through at a moment, (N,) bool."""
        days = self._options.filters.max_age_days
        if days is None:
            return self.may_show
        oldest_ms = now_ms - int(days * MS_PER_DAY)
        return self.may_show & ((self.published_ms < 0) | (self.published_ms >= oldest_ms))

    def distinct_clicks(
        self, reading: Reading
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return each reader's first click on each known article, newest first.

        As bounds (B + 1,) of readers, and articles and times (C,).
        """
        num_readers = len(reading.starts) - 1
        reader_of = np.repeat(np.arange(num_readers), np.diff(reading.starts))
        known = np.flatnonzero(reading.rows >= 0)
        items = self.item_of_row[reading.rows[known]]
        # Of equal pairs the last is the oldest.
        pairs = reader_of[known] * max(len(self.row_of), 1) + items
        _, first = np.unique(pairs[::-1], return_index=True)
        kept = np.sort(len(known) - 1 - first)
        counts = np.bincount(reader_of[known[kept]], minlength=num_readers)
        starts = np.zeros(num_readers + 1, dtype=np.int64)
        np.cumsum(counts, out=starts[1:])
        return starts, items[kept], reading.times_ms[known[kept]]

    def _number(self) -> None:
        catalogue, statistics = self._catalogue, self._statistics
        self.item_of_row = statistics.number(catalogue.refs())
        published = catalogue.published_ms[: len(catalogue)]
        # Known from the moment after its publication; without one, from the beginning.
        known_ms = np.where(published == UNPUBLISHED_MS, 0, published + 1)
        np.minimum.at(statistics.items.first_ms, self.item_of_row, known_ms)

    def _describe(self) -> NDArray[np.float32]:
        """Return the vectors of the articles' words by row; before they are numbered again."""
        is_tag = np.zeros_like(self._is_tag)  # the last is that of no term
        is_tag[[tag_term(each) for each in self._catalogue.tag_names]] = True
        terms = _words(self._catalogue.terms[: len(self._catalogue)], is_tag)
        if len(terms) >= RARITY_GROWTH * self._weighed:
            self._rarity, self._weighed = rarity_of(terms), len(terms)
            vectors = text_vectors(terms, self._rarity)
        else:
            held = self.item_of_row
            before = _words(self.articles.terms[held], self._is_tag)
            same = np.zeros(len(terms), dtype=np.bool_)
            same[: len(held)] = (terms[: len(held)] == before).all(axis=1)
            vectors = np.zeros((len(terms), TEXT_WIDTH), dtype=np.float32)
            vectors[: len(held)] = self.articles.vectors[held]
            vectors[~same] = text_vectors(terms[~same], self._rarity)
        self._is_tag = is_tag
        return vectors

    def _place(self, by_row: NDArray[np.float32]) -> None:
        """Put everything in the order of the numbers. by_row: (M, TEXT_WIDTH) vectors."""
        catalogue, num_items = self._catalogue, len(self._statistics)
        row_of = np.full(num_items, -1, dtype=np.int64)
        row_of[self.item_of_row] = np.arange(len(catalogue))
        known = row_of >= 0
        rows = row_of[known]
        tags = np.full((num_items, catalogue.tags.shape[1]), NO_TAG, dtype=np.int32)
        tags[known] = catalogue.tags[rows]
        languages = np.full(num_items, NO_LANGUAGE, dtype=np.int16)
        languages[known] = catalogue.languages[rows]
        terms = np.full((num_items, catalogue.terms.shape[1]), NO_TERM, dtype=np.int32)
        terms[known] = catalogue.terms[rows]
        vectors = np.zeros((num_items, TEXT_WIDTH), dtype=np.float32)
        vectors[known] = by_row[rows]
        self.published_ms = np.full(num_items, -1, dtype=np.int64)
        self.published_ms[known] = catalogue.published_ms[rows]
        self.may_show = np.zeros(num_items, dtype=np.bool_)
        self.may_show[self.item_of_row] = may_show(catalogue, self._options.filters)
        self.articles = Articles(tags, languages, terms, vectors)
        self.row_of = row_of


def _words(terms: NDArray[np.int32], is_tag: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return terms of articles without those of tags: they have a feature, and a likeness, apart.

    is_tag: (NUM_TERMS + 1,), False in the place of `NO_TERM`, the last.
    """
    words = terms.copy()
    words[is_tag[words]] = NO_TERM
    return words
