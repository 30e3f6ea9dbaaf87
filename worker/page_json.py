"""Front pages as the JSON of `Recommendation`, put together from parts that are encoded once.

A page is some fifty reasons, each with a name that hundreds of pages share: to build a record of
each and encode it took three times as long. Here the text around the numbers is kept for each
article and tag, weights are sorted and rounded for all readers at once, and a page is one join.
Byte for byte it is what msgspec makes of the records.
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
from worker.json_numbers import DECIMALS, Numbers, Objects
from worker.recommend.features import SOURCES
from worker.recommend.pages import Ranked

TAGS = "tags"
CO_CLICKED = "co-clicked"
EXPLORED = "explored"

_NAMES = (*SOURCES, EXPLORED)
_AT_TAGS, _AT_CO_CLICKED = _NAMES.index(TAGS), _NAMES.index(CO_CLICKED)
assert _AT_CO_CLICKED < _AT_TAGS
_ENDS = np.array([b"]}", b"}]}", b"]},", b"}]},"], dtype=np.object_)
"""What ends an item: without reasons and with some; then both again where another item follows."""

# A key with its quotes is found nowhere else in JSON: within a string they would be escaped.
_ITEMS = b'"items":['
_SCORE = b'"score":'

_encode = msgspec.json.Encoder().encode


class PageWriter:
    """Write front pages of articles of a catalogue.

    Text is kept for the articles that pages have shown, at most for each once; it is made anew
    when the article has been replaced.
    """

    def __init__(self, catalogue: Catalogue, manifest: Manifest) -> None:
        self._catalogue = catalogue
        self._version = manifest.model_version
        self._numbers = Numbers()
        self._made_of: list[EncodedArticle | None] = []
        # By catalogue row: what precedes an item's score, what follows it up to the first reason,
        # and what precedes the weight of a reason that names the article, as an item's first and
        # as a later one.
        self._texts: Objects = np.empty((0, 4), dtype=np.object_)
        self._of_tags: Objects = np.empty((1, 2), dtype=np.object_)  # the last: of no tag
        self._of_sources: Objects = np.array([_reason(name) for name in _NAMES], dtype=np.object_)

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
        pieces, num_pieces = self._items(ranked, interests, reader, place)
        last = np.cumsum(np.bincount(reader, minlength=len(user_ids)))  # items up to each page
        ends = np.append(0, np.cumsum(num_pieces))[last].tolist()
        pages = []
        start = 0
        frames = self._frames(user_ids, recommendation_ids, now)
        for (before, after), end in zip(frames, ends, strict=True):
            pages.append(b"".join((before, _ITEMS, b"".join(pieces[start:end]), after)))
            start = end
        return pages

    def _items(
        self,
        ranked: Ranked,
        interests: NDArray[np.float32],
        reader: NDArray[np.int64],
        place: NDArray[np.int64],
    ) -> tuple[list[bytes], NDArray[np.int64]]:
        """Return the pieces of N items, one after the other, and how many each has, (N,)."""
        rows, linked = ranked.rows[reader, place], ranked.linked[reader, place]
        scores = ranked.scores[reader, place].astype(np.float64).round(DECIMALS)
        tags = self._catalogue.tags[rows]
        tags = tags[:, : np.count_nonzero(tags != NO_TAG, axis=1).max(initial=0)]
        weights, given = _reasons(ranked, tags, interests, reader, place)
        order = np.argsort(np.where(given, -weights, np.inf), axis=1, kind="stable")
        num_given = np.count_nonzero(given, axis=1)
        # From here on (M,): every reason of every item, in order.
        item, nth = np.nonzero(np.arange(given.shape[1]) < num_given[:, None])
        column = order[item, nth]
        # An item is its start, its score, the start of its reasons, then for each a name and a
        # weight, and its end.
        num_pieces = 4 + 2 * num_given
        start = np.cumsum(num_pieces) - num_pieces
        pieces = np.empty(int(num_pieces.sum()), dtype=np.object_)
        of_articles = self._texts[rows]
        pieces[start] = of_articles[:, 0]
        pieces[start + 1] = self._numbers.written(scores)
        pieces[start + 2] = of_articles[:, 1]
        at = start[item] + 3 + 2 * nth
        pieces[at] = self._names(column, item, (nth > 0).astype(np.int64), tags, linked)
        pieces[at + 1] = self._numbers.written(weights[item, column])
        followed = np.zeros(len(rows), dtype=np.int64)
        followed[:-1] = reader[1:] == reader[:-1]
        pieces[start + num_pieces - 1] = _ENDS[(num_given > 0) + 2 * followed]
        return pieces.tolist(), num_pieces

    def _names(
        self,
        column: NDArray[np.int64],
        item: NDArray[np.int64],
        later: NDArray[np.int64],
        tags: NDArray[np.int32],
        linked: NDArray[np.int64],
    ) -> Objects:
        """Return what precedes the weights of reasons, (M,).

        column, item: (M,), which of the reasons of which item. later: (M,), 0 for an item's
        first. tags, linked: (N, T) and (N,).
        """
        past = column - (_AT_TAGS + tags.shape[1])  # 0 in the first column after the tags
        source = np.where(past < 0, np.minimum(column, _AT_TAGS), past + (_AT_TAGS + 1))
        names: Objects = self._of_sources[source, later]
        of_tag = np.flatnonzero(source == _AT_TAGS)
        names[of_tag] = self._of_tags[tags[item[of_tag], column[of_tag] - _AT_TAGS], later[of_tag]]
        of_link = np.flatnonzero((column == _AT_CO_CLICKED) & (linked >= 0)[item])
        names[of_link] = self._texts[linked[item[of_link]], 2 + later[of_link]]
        return names

    def _frames(
        self, user_ids: list[str], recommendation_ids: list[str], now: datetime
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield what precedes the list of items of each page, and what follows its start."""
        for user_id, recommendation_id in zip(user_ids, recommendation_ids, strict=True):
            page = Recommendation(
                recommendation_id=recommendation_id,
                user_id=user_id,
                items=[],
                model_version=self._version,
                generated_at=now,
            )
            before, _, after = _encode(page).partition(_ITEMS)
            yield before, after

    def _follow(self, rows: NDArray[np.int64], linked: NDArray[np.int64]) -> None:
        """Encode what is new, or was replaced, of the articles that are to be named."""
        articles, tag_names = self._catalogue.articles, self._catalogue.tag_names
        num_tags = len(self._of_tags) - 1
        if num_tags < len(tag_names):
            fresh = [_reason(f"tag:{name}") for name in tag_names[num_tags:]]
            self._of_tags = np.array([*self._of_tags[:-1], *fresh, (b"", b"")], dtype=np.object_)
        if len(self._texts) < len(articles):
            texts = np.empty((2 * len(articles), 4), dtype=np.object_)
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
                self._texts[row, 2:] = _reason(f"{CO_CLICKED}:{article.article_id}")


def _item(article: EncodedArticle) -> tuple[bytes, bytes]:
    """Return what precedes an item's score, and what follows it up to the first reason."""
    item = RecommendedItem(article_id=article.article_id, score=0.0, tags=article.tags, reasons=[])
    before, _, after = _encode(item).partition(_SCORE)
    return before + _SCORE, after.removeprefix(b"0.0").removesuffix(b"]}")


def _reason(name: str) -> tuple[bytes, bytes]:
    """Return what precedes the weight of an item's first reason, and of a later one."""
    first = _encode(Reason(name=name, weight=0.0)).removesuffix(b"0.0}")
    return first, b"}," + first


def _reasons(
    ranked: Ranked,
    tags: NDArray[np.int32],
    interests: NDArray[np.float32],
    reader: NDArray[np.int64],
    place: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the weights of possible reasons, and whether there is such a reason: (N, S) each.

    In the order that equal weights keep: the sources, with the T tags of the article in the place
    of theirs, and exploration.
    """
    by_feature = ranked.shares
    sums = [by_feature[:, :, list(columns)].sum(axis=2) for columns in SOURCES.values()]
    shares = np.stack([each[reader, place] for each in sums], axis=1).round(DECIMALS)
    tag_weights, liked = _divide(shares[:, _AT_TAGS], tags, interests, reader)
    before, after = shares[:, :_AT_TAGS], shares[:, _AT_TAGS + 1 :]
    weights = np.column_stack([before, tag_weights, after, np.zeros(len(shares))])
    given = np.column_stack([before != 0, liked, after != 0, ranked.explored[reader, place]])
    return weights, given


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
