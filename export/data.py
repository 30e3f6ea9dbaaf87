"""A reading set as arrays: texts, click lists in time order, labels with their holes, splits."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from schemas.errors import TrainingError
from schemas.history import article_ref, pack_entry
from schemas.reading_set import Reader, ReadingSet, Split, split_of
from schemas.timestamps import MAX_RFC3339_MS, to_ms
from schemas.tokenizer import PAD_ID, article_text

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SPLITS: tuple[Split, ...] = get_args(Split)
MISSING = -1
"""Stands for a missing gender or income group; a missing age is NaN."""

_OLDEST_YEARS = 120.0
_MS_PER_HOUR = 3_600_000.0


@dataclass(frozen=True, eq=False)
class ReaderData:
    """Readers with at least one label and one click on a known article.

    Of A articles, R readers and C clicks. Reader r clicked `clicks[offsets[r]:offsets[r + 1]]`,
    oldest first, in the order in which the worker keeps a history.
    """

    name: str
    licence: str | None
    income_groups: list[str]
    texts: list[str]  # A
    tags: list[list[str]]  # A
    user_ids: list[str]  # R
    age: Floats  # (R,) years, NaN where missing
    income: Ints  # (R,) group, `MISSING` where missing
    gender: Ints  # (R,) 1 woman, 0 man, `MISSING` where missing
    split: Ints  # (R,) index into `SPLITS`
    offsets: Ints  # (R + 1,)
    clicks: Ints  # (C,) article index
    hours: Floats  # (C,) hours since 1970
    dropped: dict[str, int] = field(default_factory=dict)

    def readers_of(self, split: Split) -> Ints:
        """Return the indices of the readers of a split."""
        return np.flatnonzero(self.split == SPLITS.index(split))

    def num_clicks(self) -> Ints:
        """Return the number of clicks of each reader: (R,)."""
        return np.diff(self.offsets)

    def newest(self, reader: int, limit: int) -> slice:
        """Return where the reader's newest clicks are, at most `limit` of them, oldest first."""
        end = int(self.offsets[reader + 1])
        return slice(max(int(self.offsets[reader]), end - limit), end)

    def counts(self) -> dict[str, Any]:
        """Return how much there is, for the manifest."""
        return {
            "articles": len(self.texts),
            "readers": {name: len(self.readers_of(name)) for name in SPLITS},
            "clicks": len(self.clicks),
            "dropped": self.dropped,
        }


def load_reader_data(reading_set: ReadingSet, reads_tags: bool = True) -> ReaderData:
    """Read a reading set; drop duplicates and what cannot be used, and count what was dropped.

    reads_tags: whether the texts start with the articles' tags.

    Raises:
        ReadingSetError: when a file is missing or a line is bad.
        TrainingError: when no reader has both a label and a click on a known article.
    """
    dropped: Counter[str] = Counter()
    articles = {article.article_id: article for article in reading_set.articles()}
    index = {article_id: number for number, article_id in enumerate(articles)}
    groups = reading_set.income_labels
    readers = _labelled(reading_set.readers(), len(groups), dropped)
    histories = _histories(reading_set, set(readers), index, dropped)
    kept = [reader for user_id, reader in readers.items() if user_id in histories]
    dropped["labelled readers without clicks"] = len(readers) - len(kept)
    if not kept:
        raise TrainingError(
            f"{reading_set.directory}: no reader has both a label and a click on a known article"
        )
    lists = [histories[reader.user_id] for reader in kept]
    flat = [click for clicks in lists for click in clicks]
    return ReaderData(
        name=reading_set.info.name,
        licence=reading_set.info.licence,
        income_groups=groups,
        texts=[
            article_text(article.title, article.body, article.tags if reads_tags else None)
            for article in articles.values()
        ],
        tags=[list(dict.fromkeys(article.tags or ())) for article in articles.values()],
        user_ids=[reader.user_id for reader in kept],
        age=np.array([np.nan if r.age is None else r.age for r in kept], dtype=np.float64),
        income=np.array([MISSING if r.income_group is None else r.income_group for r in kept]),
        gender=np.array([_GENDERS[r.gender] for r in kept]),
        split=np.array([SPLITS.index(r.split or split_of(r.user_id)) for r in kept]),
        offsets=np.concatenate([[0], np.cumsum([len(clicks) for clicks in lists])]),
        clicks=np.array([article for _, article in flat], dtype=np.int64),
        hours=np.array([ms / _MS_PER_HOUR for ms, _ in flat]),
        dropped={reason: count for reason, count in sorted(dropped.items()) if count},
    )


_GENDERS = {"female": 1, "male": 0, None: MISSING}


def reader_tokens(
    tokens: NDArray[np.int32], articles: NDArray[np.int64], num_tokens: int
) -> NDArray[np.int32]:
    """Concatenate the tokens of `articles` (newest first), cut or padded to `num_tokens`.

    tokens: (A, T) int32; returns (num_tokens,) int32, the input of the reference architecture.

    >>> reader_tokens(np.array([[5, 6, 0], [7, 0, 0]], dtype=np.int32), np.array([1, 0]), 4)
    array([7, 5, 6, 0], dtype=int32)
    """
    row = np.full(num_tokens, PAD_ID, dtype=np.int32)
    filled = 0
    for article in articles:
        words = tokens[article]
        words = words[words != PAD_ID][: num_tokens - filled]
        row[filled : filled + len(words)] = words
        filled += len(words)
        if filled == num_tokens:
            break
    return row


def _labelled(
    readers: Iterable[Reader], num_groups: int, dropped: Counter[str]
) -> dict[str, Reader]:
    """Keep the readers with a usable label, the last record of each."""
    kept: dict[str, Reader] = {}
    for reader in readers:
        age, income = reader.age, reader.income_group
        # Written so that NaN fails the comparison too.
        if age is not None and not 0.0 < age <= _OLDEST_YEARS:
            dropped["ages that are not human"] += 1
            age = None
        if income is not None and not 0 <= income < num_groups:
            dropped["income groups out of range"] += 1
            income = None
        if reader.user_id in kept:
            dropped["repeated readers"] += 1
            del kept[reader.user_id]
        if age is None and income is None and reader.gender is None:
            dropped["readers without a label"] += 1
            continue
        kept[reader.user_id] = Reader(
            user_id=reader.user_id,
            age=age,
            gender=reader.gender,
            income_group=income,
            split=reader.split,
        )
    return kept


def _histories(
    reading_set: ReadingSet, user_ids: set[str], index: dict[str, int], dropped: Counter[str]
) -> dict[str, list[tuple[int, int]]]:
    """Return (milliseconds, article index) of each reader's distinct clicks, oldest first."""
    refs = {article_id: article_ref(article_id) for article_id in index}
    # Keyed and ordered by the packed entry, so that the order is the worker's to the last tie.
    entries: dict[str, dict[bytes, tuple[int, int]]] = {}
    for click in reading_set.clicks():
        ref = refs.get(click.article_id)
        if not click.consent:
            dropped["clicks without consent"] += 1
        elif ref is None:
            dropped["clicks on unknown articles"] += 1
        elif click.user_id not in user_ids:
            dropped["clicks of readers without a label"] += 1
        else:
            when = to_ms(click.timestamp)
            if not 0 <= when <= MAX_RFC3339_MS:
                dropped["clicks outside the years 1970-9999"] += 1
                continue
            entry = pack_entry(when, click.event_id, ref)
            history = entries.setdefault(click.user_id, {})
            if entry in history:
                dropped["repeated clicks"] += 1
            history[entry] = (when, index[click.article_id])
    return {
        user_id: [history[entry] for entry in sorted(history)]
        for user_id, history in entries.items()
    }
