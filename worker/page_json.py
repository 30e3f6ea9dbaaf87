"""Front pages as the JSON of `Recommendation`, put together from parts that are encoded once.

A page is some fifty reasons, each with a name that hundreds of pages share: to build a record of
each and encode it took 90 us a reader. Here the text around the numbers is kept for each article
and tag, the numbers of a batch are encoded at once, and a page is one join. Byte for byte it is
what msgspec makes of the records.
"""

from collections.abc import Iterator
from datetime import datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.bundle import Manifest
from schemas.encoded import EncodedArticle
from schemas.records import Reason, Recommendation, RecommendedItem
from worker.catalogue import NO_TAG, Catalogue
from worker.recommend.features import SOURCES
from worker.recommend.pages import Ranked

TAGS = "tags"
CO_CLICKED = "co-clicked"
EXPLORED = "explored"
DECIMALS = 4

Objects = np.ndarray[tuple[int, ...], np.dtype[np.object_]]

_SOURCES = tuple(SOURCES)
_AT_TAGS, _AT_CO_CLICKED = _SOURCES.index(TAGS), _SOURCES.index(CO_CLICKED)
_ENDS = np.array([b"]}", b"}]}", b"]},", b"}]},"], dtype=np.object_)
"""What ends an item: without reasons and with some; then both again where another item follows."""

_encode = msgspec.json.Encoder().encode


class PageWriter:
    """Write front pages of articles of a catalogue.

    Text is kept for the articles that pages have shown, at most for each once; it is made anew
    when the article has been replaced.
    """

    def __init__(self, catalogue: Catalogue, manifest: Manifest) -> None:
        self._catalogue = catalogue
        self._version = manifest.model_version
        self._made_of: list[EncodedArticle | None] = []
        # By catalogue row: what precedes an item's score, what follows it up to the first reason,
        # and what precedes the weight of a reason that names the article.
        self._texts: Objects = np.empty((0, 3), dtype=np.object_)
        self._of_tags: Objects = np.array([b""], dtype=np.object_)  # the last: of no tag
        self._of_sources: Objects = np.array([_reason(name) for name in _SOURCES], dtype=np.object_)
        self._explored = _reason(EXPLORED)

    def write(
        self,
        user_ids: list[str],
        recommendation_ids: list[str],
        ranked: Ranked,
        interests: NDArray[np.float32],
        now: datetime,
    ) -> list[bytes]:
        """Return the front pages of B readers, each item with its reasons, strongest first.

        interests: (B, G) float32, the reader's own in each tag.
        """
        reader, place = np.nonzero(ranked.rows >= 0)  # (N,) each: the items, page by page
        self._follow(ranked.rows[reader, place], ranked.linked[reader, place])
        weights, given, names = self._reasons(ranked, interests, reader, place)
        pieces, kept = self._pieces(ranked, weights, given, names, reader, place)
        parts = pieces[kept].tolist()
        num_parts = np.bincount(
            reader, weights=np.count_nonzero(kept, axis=1), minlength=len(user_ids)
        )
        ends = np.cumsum(num_parts).astype(np.int64).tolist()
        pages = []
        start = 0
        frames = self._frames(user_ids, recommendation_ids, now)
        for (before, after), end in zip(frames, ends, strict=True):
            pages.append(b"".join([before, *parts[start:end], after]))
            start = end
        return pages

    def _reasons(
        self,
        ranked: Ranked,
        interests: NDArray[np.float32],
        reader: NDArray[np.int64],
        place: NDArray[np.int64],
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_], Objects]:
        """Return weights, whether there is such a reason, and names: (N, S) each.

        The possible reasons in the order that equal weights keep: the sources, with the article's
        tags in the place of theirs, and exploration.
        """
        by_feature, rows = ranked.shares, ranked.rows[reader, place]
        sums = [by_feature[:, :, list(columns)].sum(axis=2) for columns in SOURCES.values()]
        shares = np.stack([each[reader, place] for each in sums], axis=1).round(DECIMALS)
        tags = self._catalogue.tags[rows]
        tags = tags[:, : np.count_nonzero(tags != NO_TAG, axis=1).max(initial=0)]
        tag_weights, liked = _divide(shares[:, _AT_TAGS], tags, interests, reader)
        explored = ranked.explored[reader, place]
        before, after = slice(_AT_TAGS), slice(_AT_TAGS + 1, None)
        weights = np.column_stack(
            [shares[:, before], tag_weights, shares[:, after], np.zeros(len(rows))]
        )
        given = np.column_stack([shares[:, before] != 0, liked, shares[:, after] != 0, explored])
        names = np.empty(weights.shape, dtype=np.object_)
        past_tags = _AT_TAGS + tags.shape[1]
        names[:, before] = self._of_sources[before]
        names[:, _AT_TAGS:past_tags] = self._of_tags[tags]
        names[:, past_tags:-1] = self._of_sources[after]
        names[:, -1] = self._explored
        at_link = _AT_CO_CLICKED + (tags.shape[1] - 1) * (_AT_CO_CLICKED > _AT_TAGS)
        linked = ranked.linked[reader, place]
        names[linked >= 0, at_link] = self._texts[linked[linked >= 0], 2]
        return weights, given, names

    def _pieces(
        self,
        ranked: Ranked,
        weights: NDArray[np.float64],
        given: NDArray[np.bool_],
        names: Objects,
        reader: NDArray[np.int64],
        place: NDArray[np.int64],
    ) -> tuple[Objects, NDArray[np.bool_]]:
        """Return the pieces of the items, (N, P), and which of them there are."""
        num_given = np.count_nonzero(given, axis=1)
        most = max(1, num_given.max(initial=0))
        order = np.argsort(np.where(given, -weights, np.inf), axis=1, kind="stable")[:, :most]
        sorted_given = np.arange(most) < num_given[:, None]
        sorted_weights = np.take_along_axis(weights, order, axis=1)
        num_items = len(reader)
        pieces = np.empty((num_items, 3 + 3 * most), dtype=np.object_)
        of_articles = self._texts[ranked.rows[reader, place]]
        pieces[:, 0] = of_articles[:, 0]
        pieces[:, 1] = _numbers(ranked.scores[reader, place].astype(np.float64).round(DECIMALS))
        pieces[:, 2:-1:3] = b"},"
        pieces[:, 2] = of_articles[:, 1]
        pieces[:, 3:-1:3] = np.take_along_axis(names, order, axis=1)
        pieces[:, 4:-1:3][sorted_given] = _numbers(sorted_weights[sorted_given])
        followed = np.append(reader[1:] == reader[:-1], [False] * min(num_items, 1))
        pieces[:, -1] = _ENDS[(num_given > 0) + 2 * followed]
        kept = np.ones(pieces.shape, dtype=np.bool_)
        kept[:, 2:-1] = np.repeat(sorted_given, 3, axis=1)
        kept[:, 2] = True
        return pieces, kept

    def _frames(
        self, user_ids: list[str], recommendation_ids: list[str], now: datetime
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield what precedes the items of each page, and what follows them."""
        for user_id, recommendation_id in zip(user_ids, recommendation_ids, strict=True):
            page = Recommendation(
                recommendation_id=recommendation_id,
                user_id=user_id,
                items=[],
                model_version=self._version,
                generated_at=now,
            )
            yield _cut(_encode(page), b'"items":[', b"]")

    def _follow(self, rows: NDArray[np.int64], linked: NDArray[np.int64]) -> None:
        """Encode what is new, or was replaced, of the articles that are to be named."""
        articles, tag_names = self._catalogue.articles, self._catalogue.tag_names
        num_tags = len(self._of_tags) - 1
        if num_tags < len(tag_names):
            fresh = [_reason(f"tag:{name}") for name in tag_names[num_tags:]]
            self._of_tags = np.array([*self._of_tags[:-1], *fresh, b""], dtype=np.object_)
        if len(self._texts) < len(articles):
            texts = np.empty((2 * len(articles), 3), dtype=np.object_)
            texts[: len(self._texts)] = self._texts
            self._texts = texts
            self._made_of += [None] * (len(texts) - len(self._made_of))
        named = np.zeros(len(articles) + 1, dtype=np.bool_)  # the last: -1, nothing there
        named[rows] = named[linked] = True
        for row in np.flatnonzero(named[:-1]).tolist():
            article = articles[row]
            if self._made_of[row] is not article:
                self._made_of[row] = article
                self._texts[row, :2] = _item(article)
                self._texts[row, 2] = _reason(f"{CO_CLICKED}:{article.article_id}")


def _item(article: EncodedArticle) -> tuple[bytes, bytes]:
    """Return what precedes an item's score, and what follows it up to the first reason."""
    item = RecommendedItem(
        article_id=article.article_id, score=0.0, tags=article.tags, reasons=[]
    )
    before, after = _cut(_encode(item), b'"score":', b"0.0")
    return before, after.removeprefix(b"0.0").removesuffix(b"]}")


def _reason(name: str) -> bytes:
    """Return what precedes a reason's weight."""
    return _encode(Reason(name=name, weight=0.0)).removesuffix(b"0.0}")


def _cut(encoded: bytes, key: bytes, value: bytes) -> tuple[bytes, bytes]:
    """Return JSON up to a value and from it on.

    A key with its quotes is found nowhere else: within a string they would be escaped.
    """
    before, _, after = encoded.partition(key + value)
    return before + key, value + after


def _numbers(values: NDArray[np.float64]) -> list[bytes]:
    """Return each as msgspec writes it, encoded all at once: 60 ns a number."""
    return _encode(values.tolist())[1:-1].split(b",") if len(values) else []


def _divide(
    share: NDArray[np.float64],
    tags: NDArray[np.int32],
    interests: NDArray[np.float32],
    reader: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Divide what the tags of N items are worth by how much the reader likes each of them.

    share: (N,). tags: (N, T) tag numbers, `NO_TAG` beyond the last. Returns (N, T) weights, and
    which of them there are.
    """
    if not tags.size:
        return np.zeros(tags.shape), np.zeros(tags.shape, dtype=np.bool_)
    interest = np.where(tags != NO_TAG, interests[reader[:, None], tags], 0.0).astype(np.float64)
    liked = (interest > 0) & (share != 0)[:, None]
    interest[interest < 0] = 0.0
    # One by one, as a loop adds: `sum` would go pairwise, to another last bit.
    total = np.cumsum(interest, axis=1)[:, -1:]
    exact = share[:, None] * interest / np.where(total > 0, total, 1.0)
    scaled = exact * 10**DECIMALS
    weights = np.rint(scaled) / 10**DECIMALS
    # Two tags liked alike halve an odd number of decimals: only `round` knows on which side of
    # the half the true value is.
    halves = liked & (np.abs(scaled - np.trunc(scaled)) == 0.5)
    weights[halves] = [round(each, DECIMALS) for each in exact[halves].tolist()]
    return weights, liked
