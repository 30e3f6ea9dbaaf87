"""From a reading set to arrays on disk, in one pass over each file and with bounded memory.

Held in memory: the labels, about 32 bytes an article, and one shard of clicks. Texts go straight
to disk.
"""

import zlib
from array import array
from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np

from export.article_files import ArticleIndex, ArticleWriter, ref_number
from export.click_shards import CLICK_DTYPE, ClickShards
from export.disk_arrays import load_array, save_array
from schemas.errors import TrainingError
from schemas.history import REF_BYTES
from schemas.reading_set import Reader, ReadingSet, Split, split_of
from schemas.timestamps import MAX_RFC3339_MS, to_ms
from schemas.tokenizer import article_text

SPLITS: tuple[Split, ...] = get_args(Split)
MISSING = -1
"""Stands for a missing gender or income group; a missing age is NaN."""

FACTS_FILE = "facts.json"

_OLDEST_YEARS = 120.0
_CLICKS_PER_CHUNK = 65_536
_VALUES_PER_CHUNK = 1 << 20
_GENDERS = {"female": 1, "male": 0, None: MISSING}
_UNKNOWN_READER = -1


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is not an array."""

    user_ids: list[str]
    dropped: dict[str, int]
    fingerprint: str
    """Checksum of all that a training reads."""


def write_arrays(
    reading_set: ReadingSet, directory: Path, reads_tags: bool, readers_per_shard: int
) -> None:
    """Write texts, tags, labels and sorted clicks; drop what cannot be used, and count it.

    Raises:
        ReadingSetError: when a file is missing or a line is bad.
        TrainingError: when no reader has both a label and a click on a known article.
    """
    dropped: Counter[str] = Counter()
    digest, index = _write_articles(reading_set, directory, reads_tags)
    readers = _labelled(reading_set.readers(), len(reading_set.income_labels), dropped)
    shards = ClickShards(directory, len(readers), readers_per_shard)
    _collect(reading_set, readers, index, shards, dropped)
    dropped["repeated clicks"] = shards.sort()
    counts = shards.counts()
    kept = [reader for reader, count in zip(readers.values(), counts, strict=True) if count]
    dropped["labelled readers without clicks"] = len(readers) - len(kept)
    if not kept:
        raise TrainingError(
            f"{reading_set.directory}: no reader has both a label and a click on a known article"
        )
    shards.write(index, directory / "clicks.npy", directory / "hours.npy")
    _write_labels(kept, directory)
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts[counts > 0])])
    save_array(directory / "offsets.npy", offsets)
    facts = Facts(
        user_ids=[reader.user_id for reader in kept],
        dropped={reason: count for reason, count in sorted(dropped.items()) if count},
        fingerprint=_fingerprint(directory, digest),
    )
    (directory / FACTS_FILE).write_bytes(msgspec.json.encode(facts))


def _write_articles(
    reading_set: ReadingSet, directory: Path, reads_tags: bool
) -> tuple[bytes, ArticleIndex]:
    with ArticleWriter(directory) as writer:
        for article in reading_set.articles():
            text = article_text(article.title, article.body, article.tags if reads_tags else None)
            writer.add(article.article_id, text, list(dict.fromkeys(article.tags or ())))
        return writer.digest(), writer.finish()


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


def _collect(
    reading_set: ReadingSet,
    readers: dict[str, Reader],
    index: ArticleIndex,
    shards: ClickShards,
    dropped: Counter[str],
) -> None:
    """Hand the clicks of labelled readers on known articles to the shards, chunk by chunk."""
    numbers = {user_id: number for number, user_id in enumerate(readers)}
    chunk = _Chunk()
    for click in reading_set.clicks():
        if not click.consent:
            dropped["clicks without consent"] += 1
            continue
        ref = ref_number(click.article_id)
        event = click.event_id
        # As in `schemas.history.pack_entry`, so that the order is the worker's to the last tie.
        named = ref.to_bytes(REF_BYTES, "big") if event is None else event.encode()
        when = min(max(to_ms(click.timestamp), -1), MAX_RFC3339_MS + 1)
        chunk.add(numbers.get(click.user_id, _UNKNOWN_READER), when, zlib.crc32(named), ref)
        if len(chunk) == _CLICKS_PER_CHUNK:
            chunk.hand_over(index, shards, dropped)
            chunk = _Chunk()
    chunk.hand_over(index, shards, dropped)


class _Chunk:
    """Some thousand clicks, column by column."""

    def __init__(self) -> None:
        self._columns = (array("q"), array("q"), array("q"), array("q"))

    def __len__(self) -> int:
        return len(self._columns[0])

    def add(self, *values: int) -> None:
        for column, value in zip(self._columns, values, strict=True):
            column.append(value)

    def hand_over(self, index: ArticleIndex, shards: ClickShards, dropped: Counter[str]) -> None:
        if not len(self):
            return
        reader, when, event, ref = (np.frombuffer(column, np.int64) for column in self._columns)
        known = index.rows(ref.astype(np.uint64)) >= 0
        labelled = known & (reader != _UNKNOWN_READER)
        usable = labelled & (when >= 0) & (when <= MAX_RFC3339_MS)
        dropped["clicks on unknown articles"] += int((~known).sum())
        dropped["clicks of readers without a label"] += int((known & ~labelled).sum())
        dropped["clicks outside the years 1970-9999"] += int((labelled & ~usable).sum())
        records = np.empty(int(usable.sum()), dtype=CLICK_DTYPE)
        for name, values in zip(
            ("reader", "when", "event", "ref"), (reader, when, event, ref), strict=True
        ):
            records[name] = values[usable]
        shards.add(records)


def _write_labels(readers: list[Reader], directory: Path) -> None:
    columns: dict[str, Any] = {
        "age": np.array([np.nan if r.age is None else r.age for r in readers], dtype=np.float64),
        "income": [MISSING if r.income_group is None else r.income_group for r in readers],
        "gender": [_GENDERS[r.gender] for r in readers],
        "split": [SPLITS.index(r.split or split_of(r.user_id)) for r in readers],
    }
    for name, values in columns.items():
        kind = np.float64 if name == "age" else np.int64
        save_array(directory / f"{name}.npy", np.asarray(values, dtype=kind))


def _fingerprint(directory: Path, articles: bytes) -> str:
    digest = blake2b(articles, digest_size=16)
    for name in ("clicks", "hours", "offsets", "age", "income", "gender", "split"):
        path = directory / f"{name}.npy"
        values: Any = load_array(path, np.float64 if name in ("hours", "age") else np.int64)
        for start in range(0, len(values), _VALUES_PER_CHUNK):
            digest.update(values[start : start + _VALUES_PER_CHUNK].tobytes())
    return digest.hexdigest()
