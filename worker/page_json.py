"""Front pages as the JSON of `Recommendation`, written as bytes for all readers of a batch at once.

A page is some fifty reasons, each with a name that hundreds of pages share: to build a record of
each and encode it took ten times as long. Here the text around the numbers is kept for each
article and tag, and compiled code copies it and writes the numbers. Byte for byte it is what
msgspec makes of the records.
"""

import math
from datetime import datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.encoded import EncodedArticle
from schemas.records import Reason, Recommendation, RecommendedItem
from worker.catalogue import NO_TAG, Catalogue
from worker.compiled import compiled, inlined
from worker.json_bytes import (
    MOST_SCALED,
    NUMBER_BYTES,
    SCALE,
    Bytes,
    Output,
    Texts,
    copied,
    lines,
    literal,
    number,
)
from worker.recommend.features import SOURCES
from worker.recommend.pages import Ranked

TAGS = "tags"
CO_CLICKED = "co-clicked"
EXPLORED = "explored"

_NAMES = (*SOURCES, EXPLORED)
_AT_TAGS, _AT_CO_CLICKED, _AT_EXPLORED = map(_NAMES.index, (TAGS, CO_CLICKED, EXPLORED))
_COLUMNS = np.array([each for columns in SOURCES.values() for each in columns])
_COLUMN_ENDS = np.cumsum([len(columns) for columns in SOURCES.values()])

# A key with its quotes is found nowhere else in JSON: within a string they would be escaped.
_ITEMS = '"items":['
_SCORE = b'"score":'

# Tables of `Texts`. Of an article: what precedes an item's score, what follows it up to the first
# reason, and the start of a reason that names the article. Of the others: the start of a reason.
_ARTICLES, _OF_TAGS, _OF_SOURCES = range(3)
_PIECES = (3, 1, 1)

_encode = msgspec.json.Encoder().encode

# The start of a reason ends the one before it, by these bytes; the first goes without them.
_BETWEEN = b"},"
_BETWEEN_BYTES = len(_BETWEEN)
_ID_KEY, _USER_KEY = literal('{"recommendation_id":'), literal(',"user_id":')
_ITEMS_KEY = literal("," + _ITEMS)
_END, _END_OF_REASONS = literal("]}"), literal("}]}")
_COMMA = 44


class PageWriter:
    """Write front pages of articles of a catalogue.

    Text is kept for the articles that pages have shown, at most for each once; it is made anew
    when the article has been replaced.
    """

    def __init__(self, catalogue: Catalogue, model_version: str) -> None:
        self._catalogue = catalogue
        self._version = model_version
        self._texts = Texts(*_PIECES)
        for source, name in enumerate(_NAMES):
            self._texts.put(_OF_SOURCES, source, (_reason(name),))
        self._num_tags = 0
        self._made_of: dict[int, EncodedArticle] = {}
        # By row: the state of the catalogue in which its text was last found to be current.
        self._current_at = np.full(64, -1, dtype=np.int64)
        self._output = Output()

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
        # Compiled code does not look whether an index is within an array.
        assert len(user_ids) == len(recommendation_ids) == len(ranked.rows) == len(interests)
        self._follow(ranked)
        ids, id_starts = lines([*recommendation_ids, *user_ids])
        end = literal(self._end(now))
        texts = self._texts

        def write(out: Bytes, ends: NDArray[np.int64], first: int) -> int:
            return _write(
                ids,
                id_starts,
                end,
                ranked.rows,
                ranked.scores,
                ranked.features,
                ranked.weights,
                ranked.linked,
                ranked.explored,
                interests,
                self._catalogue.tags,
                texts.text,
                texts.bounds[_ARTICLES],
                texts.bounds[_OF_TAGS],
                texts.bounds[_OF_SOURCES],
                out,
                ends,
                first,
            )

        return self._output.written(len(user_ids), write)

    def _end(self, now: datetime) -> str:
        """Return what follows the items of a page."""
        page = Recommendation(
            recommendation_id="",
            user_id="",
            items=[],
            model_version=self._version,
            generated_at=now,
        )
        return _encode(page).decode().partition(_ITEMS)[2]

    def _follow(self, ranked: Ranked) -> None:
        """Encode what is new, or was replaced, of the articles that are to be named."""
        articles, tag_names = self._catalogue.articles, self._catalogue.tag_names
        for tag in range(self._num_tags, len(tag_names)):
            self._texts.put(_OF_TAGS, tag, (_reason(f"tag:{tag_names[tag]}"),))
        self._num_tags = len(tag_names)
        if len(self._current_at) < len(articles):
            grown = np.full(2 * len(articles), -1, dtype=np.int64)
            grown[: len(self._current_at)] = self._current_at
            self._current_at = grown
        named = np.concatenate([ranked.rows.ravel(), ranked.linked.ravel()])
        named = named[named >= 0]
        state = self._catalogue.num_changes
        for row in np.unique(named[self._current_at[named] != state]).tolist():
            article = articles[row]
            self._current_at[row] = state
            if self._made_of.get(row) is not article:
                self._made_of[row] = article
                reason = _reason(f"{CO_CLICKED}:{article.article_id}")
                self._texts.put(_ARTICLES, row, (*_item(article), reason))


def _item(article: EncodedArticle) -> tuple[bytes, bytes]:
    """Return what precedes an item's score, and what follows it up to the first reason."""
    item = RecommendedItem(article_id=article.article_id, score=0.0, tags=article.tags, reasons=[])
    before, _, after = _encode(item).partition(_SCORE)
    return before + _SCORE, after.removeprefix(b"0.0").removesuffix(b"]}")


def _reason(name: str) -> bytes:
    """Return what precedes the weight of a reason that is not the first."""
    return _BETWEEN + _encode(Reason(name=name, weight=0.0)).removesuffix(b"0.0}")


@inlined
def _sort(
    worth: NDArray[np.float64], num: int, places: NDArray[np.int64], order: NDArray[np.int64]
) -> None:
    """Set `order[:num]` to the order by descending worth; equal ones keep theirs.

    Each is compared with each before it, without a branch: they are few.
    """
    for nth in range(num):
        places[nth] = 0
        for before in range(nth):
            less = np.int64(worth[before] < worth[nth])
            places[before] += less
            places[nth] += 1 - less
    for nth in range(num):
        order[places[nth]] = nth


@compiled
def _write(
    ids: Bytes,
    id_starts: NDArray[np.int64],
    page_end: Bytes,
    rows: NDArray[np.int64],
    scores: NDArray[np.float32],
    features: NDArray[np.float32],
    weights: NDArray[np.float64],
    linked: NDArray[np.int64],
    explored: NDArray[np.bool_],
    interests: NDArray[np.float32],
    tags: NDArray[np.int32],
    text: Bytes,
    of_articles: NDArray[np.int64],
    of_tags: NDArray[np.int64],
    of_sources: NDArray[np.int64],
    out: Bytes,
    ends: NDArray[np.int64],
    first: int,
) -> int:
    """Write the pages from `first` on; see `Output.written`.

    ids, id_starts: as from `lines`, of B recommendations, then B readers. page_end: what follows
    the items. rows, scores, linked, explored: (B, k). features, weights: (B, k, F). interests:
    (B, G). tags: by catalogue row. text and the positions in it: those of `Texts`.
    """
    num_readers, num_places = len(rows), rows.shape[1]
    frame_bytes = len(_ID_KEY) + len(_USER_KEY) + len(_ITEMS_KEY) + len(page_end)
    most = len(_COLUMN_ENDS) + tags.shape[1] + 1
    # Of an item's reasons: what they are worth, where in `text` their names start and end, and
    # their order.
    worth = np.empty(most)
    starts = np.zeros(most, dtype=np.int64)
    name_ends = np.zeros(most, dtype=np.int64)
    places = np.empty(most, dtype=np.int64)
    order = np.zeros(most, dtype=np.int64)
    for reader in range(first, num_readers):
        at = ends[reader]
        id_start, id_end = id_starts[reader], id_starts[reader + 1] - 1
        user = num_readers + reader
        user_start, user_end = id_starts[user], id_starts[user + 1] - 1
        if at + frame_bytes + id_end - id_start + user_end - user_start > len(out):
            return reader
        at = copied(out, at, _ID_KEY, 0, len(_ID_KEY))
        at = copied(out, at, ids, id_start, id_end)
        at = copied(out, at, _USER_KEY, 0, len(_USER_KEY))
        at = copied(out, at, ids, user_start, user_end)
        at = copied(out, at, _ITEMS_KEY, 0, len(_ITEMS_KEY))
        num_items = 0
        for place in range(num_places):
            row = rows[reader, place]
            if row < 0:
                continue
            # The reasons, in the order that equal ones keep: the sources, with the tags in the
            # place of theirs, and exploration.
            num = 0
            column = 0
            for source in range(len(_COLUMN_ENDS)):
                share = 0.0
                while column < _COLUMN_ENDS[source]:
                    feature = _COLUMNS[column]
                    share += features[reader, place, feature] * weights[reader, place, feature]
                    column += 1
                share = np.rint(share * SCALE) / SCALE
                if share == 0.0:
                    continue
                if source == _AT_TAGS:
                    total = 0.0
                    num_tags = 0
                    while num_tags < tags.shape[1] and tags[row, num_tags] != NO_TAG:
                        tag = tags[row, num_tags]
                        if tag < interests.shape[1]:  # one that came since is not liked yet
                            total += max(interests[reader, tag], 0.0)
                        num_tags += 1
                    for nth in range(num_tags):
                        tag = tags[row, nth]
                        if tag < interests.shape[1] and interests[reader, tag] > 0.0:
                            worth[num] = _part(share * interests[reader, tag] / total)
                            starts[num], name_ends[num] = of_tags[tag, 0], of_tags[tag, 1]
                            num += 1
                    continue
                worth[num] = share
                if source == _AT_CO_CLICKED and linked[reader, place] >= 0:
                    link = linked[reader, place]
                    starts[num], name_ends[num] = of_articles[link, 2], of_articles[link, 3]
                else:
                    starts[num], name_ends[num] = of_sources[source, 0], of_sources[source, 1]
                num += 1
            if explored[reader, place]:
                worth[num] = 0.0
                starts[num] = of_sources[_AT_EXPLORED, 0]
                name_ends[num] = of_sources[_AT_EXPLORED, 1]
                num += 1
            _sort(worth, num, places, order)

            item_bytes = of_articles[row, 2] - of_articles[row, 0] + len(_END_OF_REASONS) + 1
            item_bytes += (num + 1) * NUMBER_BYTES
            for nth in range(num):
                item_bytes += name_ends[nth] - starts[nth]
            if at + item_bytes + len(page_end) > len(out):
                return reader
            if num_items:
                out[at] = _COMMA
                at += 1
            num_items += 1
            at = copied(out, at, text, of_articles[row, 0], of_articles[row, 1])
            at = number(out, at, np.rint(np.float64(scores[reader, place]) * SCALE) / SCALE)
            at = copied(out, at, text, of_articles[row, 1], of_articles[row, 2])
            skipped = _BETWEEN_BYTES
            for nth in range(num):
                reason = order[nth]
                at = copied(out, at, text, starts[reason] + skipped, name_ends[reason])
                at = number(out, at, worth[reason])
                skipped = 0
            if num:
                at = copied(out, at, _END_OF_REASONS, 0, len(_END_OF_REASONS))
            else:
                at = copied(out, at, _END, 0, len(_END))
        ends[reader + 1] = copied(out, at, page_end, 0, len(page_end))
    return num_readers


@inlined
def _part(exact: float) -> float:
    """Round to `DECIMALS` as `round` does: by the exact value, which two tags halve often."""
    scaled = exact * SCALE
    rounded = exact  # a larger one has no decimals; `Output` does what there is to do
    if abs(scaled) < MOST_SCALED:
        nearest = np.rint(scaled)
        if abs(scaled - nearest) == 0.5:
            # Whether the product was rounded to the half from above or below: its error, exactly
            # (Dekker). The factor is short, so that splitting the other is enough.
            split = exact * 134_217_729.0  # 2^27 + 1
            high = split - (split - exact)
            error = (high * SCALE - scaled) + (exact - high) * SCALE
            if error > 0.0:
                nearest = np.ceil(scaled)
            elif error < 0.0:
                nearest = np.floor(scaled)
        rounded = math.copysign(nearest / SCALE, exact)
    return rounded
