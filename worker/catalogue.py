"""The articles a worker knows, as arrays: what inference and ranking gather from.

One row per article. Rows are appended and replaced in place, never moved: a row number stays
valid for as long as the worker lives.
"""

from collections.abc import Iterable, Sequence
from sys import intern

import numpy as np
from numpy.typing import NDArray

from schemas.encoded import EncodedArticle
from schemas.history import article_ref
from worker.recommend.numbering import Numbering
from worker.terms import MAX_TERMS, NO_TERM, unpack_terms

MAX_TAGS = 16
"""Tags kept per article for ranking; the message keeps them all."""

UNPUBLISHED_MS = -1
"""Stands for an unknown time of publication."""

MAX_TAGGED = 10_000
"""Tags whose articles are kept listed, until an article changes."""

MAX_LANGUAGES = 256
"""More than a site has: articles in others count as of none. A producer that writes something else
into the field must not make every reader's row as long as the catalogue."""

NO_TAG = -1
NO_LANGUAGE = -1


class Catalogue:
    """Encoded articles by row.

    Attributes (the first `len(catalogue)` rows are in use):
        rows: (capacity, W) the encoder's output, `dtype` of the bundle.
        tags: (capacity, MAX_TAGS) int32 tag numbers, `NO_TAG` beyond the last.
        published_ms: (capacity,) int64, `UNPUBLISHED_MS` where unknown.
        languages: (capacity,) int16 language numbers, `NO_LANGUAGE` where unknown.
        terms: (capacity, MAX_TERMS) int32; see `worker.terms`.
        tag_names: tag name by number.
        articles: by row, without what the arrays hold: `row` and `terms` are empty.
    """

    def __init__(self, row_width: int, dtype: np.dtype[np.generic]) -> None:
        self.rows = np.zeros((1024, row_width), dtype=dtype)
        self.tags = np.full((1024, MAX_TAGS), NO_TAG, dtype=np.int32)
        self.published_ms = np.full(1024, UNPUBLISHED_MS, dtype=np.int64)
        self.languages = np.full(1024, NO_LANGUAGE, dtype=np.int16)
        self.terms = np.full((1024, MAX_TERMS), NO_TERM, dtype=np.int32)
        self.articles: list[EncodedArticle] = []
        self.tag_names: list[str] = []
        self.num_languages = 0
        self.num_changes = 0
        self.withdrawn: set[bytes] = set()
        """References of articles that are recommended no more, known or not."""
        self._with_more_tags: set[int] = set()
        self._tagged: dict[str, NDArray[np.int64]] = {}
        self._tagged_at = 0
        self._language_numbers: dict[str, int] = {}
        self._tag_numbers: dict[str, int] = {}
        self._row_of_ref: dict[bytes, int] = {}
        self._numbers = Numbering()

    def __len__(self) -> int:
        return len(self.articles)

    def __contains__(self, ref: bytes) -> bool:
        return ref in self._row_of_ref

    def put(self, article: EncodedArticle) -> None:
        """Add an article, or replace the one with the same id.

        Raises:
            ValueError: when its row does not fit the model.
        """
        row_values = article.array(self.rows.dtype)
        if row_values.shape != self.rows.shape[1:]:
            raise ValueError("an encoded article does not fit the model")
        ref = article_ref(article.article_id)
        row = self._row_of_ref.get(ref)
        terms = unpack_terms(article.terms)
        # Vector and terms live in the arrays, and names are the same for many: copies of them
        # would double the worker's memory.
        kept = EncodedArticle(
            article.article_id,
            intern(article.model_version),
            b"",
            [intern(tag) for tag in article.tags],
            article.published_ms,
            None if article.language is None else intern(article.language),
        )
        if row is None:
            row = len(self.articles)
            if row == len(self.rows):
                self._grow()
            self.articles.append(kept)
            self._row_of_ref[ref] = row
            self._numbers.number(np.array([int.from_bytes(ref, "big")], dtype=np.int64))
        elif (
            kept == self.articles[row]
            and np.array_equal(row_values, self.rows[row])
            and np.array_equal(terms, self.terms[row])
        ):
            return
        else:
            self.articles[row] = kept
        self.rows[row] = row_values
        if len(article.tags) > MAX_TAGS:
            self._with_more_tags.add(row)
        else:
            self._with_more_tags.discard(row)
        self.tags[row] = NO_TAG
        numbers = [self.tag_number(tag) for tag in article.tags[:MAX_TAGS]]
        self.tags[row, : len(numbers)] = numbers
        self.published_ms[row] = (
            UNPUBLISHED_MS if article.published_ms is None else article.published_ms
        )
        self.languages[row] = self._language_number(article.language)
        self.terms[row] = terms
        self.num_changes += 1

    def withdraw(self, refs: Iterable[bytes]) -> None:
        """Recommend these articles no more; what is known of them stays, for profiles."""
        self._set_withdrawn(self.withdrawn.union(refs))

    def bring_back(self, refs: Iterable[bytes]) -> None:
        """Recommend these articles again."""
        self._set_withdrawn(self.withdrawn.difference(refs))

    def _set_withdrawn(self, refs: set[bytes]) -> None:
        if refs != self.withdrawn:
            self.withdrawn = refs
            self.num_changes += 1

    def withdrawn_rows(self) -> list[int]:
        """Return the rows of the known articles that are recommended no more."""
        return [self._row_of_ref[ref] for ref in self.withdrawn if ref in self._row_of_ref]

    def tag_number(self, tag: str) -> int:
        """Return the tag's number, a new one for a new tag."""
        number = self._tag_numbers.setdefault(tag, len(self.tag_names))
        if number == len(self.tag_names):
            self.tag_names.append(tag)
        return number

    def rows_tagged(self, tag: str) -> NDArray[np.int64]:
        """Return the rows of the articles with a tag, also of those that `tags` has no room for."""
        if self._tagged_at != self.num_changes or len(self._tagged) > MAX_TAGGED:
            self._tagged, self._tagged_at = {}, self.num_changes
        found = self._tagged.get(tag)
        if found is None:
            number = self._tag_numbers.get(tag)
            has_tag = np.zeros(len(self), dtype=np.bool_)
            if number is not None:
                has_tag = (self.tags[: len(self)] == number).any(axis=1)
            has_tag[[row for row in self._with_more_tags if tag in self.articles[row].tags]] = True
            found = self._tagged[tag] = np.flatnonzero(has_tag)
        return found

    def _language_number(self, language: str | None) -> int:
        if not language:
            return NO_LANGUAGE
        if len(self._language_numbers) >= MAX_LANGUAGES:
            return self._language_numbers.get(language, NO_LANGUAGE)
        number = self._language_numbers.setdefault(language, len(self._language_numbers))
        self.num_languages = len(self._language_numbers)
        return number

    def find(self, refs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the row of each reference (same shape), -1 where the article is not known."""
        return self._numbers.find(refs)

    def refs(self) -> NDArray[np.int64]:
        """Return the reference of each row as a number, (M,)."""
        return self._numbers.refs

    def tags_of(self, refs: NDArray[np.int64]) -> list[Sequence[str]]:
        """Return the tags of each article, (C,) references; none of an unknown one."""
        articles = self.articles
        return [articles[row].tags if row >= 0 else () for row in self.find(refs).tolist()]

    def terms_of(self, refs: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the terms of each article, (C, MAX_TERMS), by (C,) references."""
        rows = self.find(refs)
        terms: NDArray[np.int32] = self.terms[rows]
        terms[rows < 0] = NO_TERM
        return terms

    def _grow(self) -> None:
        # Not joined to zeros: memory that nothing is written to takes no room.
        rows = np.zeros((2 * len(self.rows), self.rows.shape[1]), dtype=self.rows.dtype)
        rows[: len(self.rows)] = self.rows
        self.rows = rows
        self.tags = np.concatenate([self.tags, np.full_like(self.tags, NO_TAG)])
        self.terms = np.concatenate([self.terms, np.full_like(self.terms, NO_TERM)])
        self.languages = np.concatenate([self.languages, np.full_like(self.languages, NO_LANGUAGE)])
        self.published_ms = np.concatenate(
            [self.published_ms, np.full_like(self.published_ms, UNPUBLISHED_MS)]
        )
