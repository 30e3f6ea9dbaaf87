"""A reading set as arrays: texts, click lists in time order, labels with their holes, splits."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from export.article_files import open_articles, write_tokens
from export.click_shards import READERS_PER_SHARD
from export.data_files import array_directory, scratch_directory
from export.disk_arrays import Floats, Ints, load_array, new_array
from export.distributed import barrier, is_main
from export.ingest import FACTS_FILE, MISSING, SPLITS, Facts, write_arrays
from schemas.reading_set import ReadingSet, Split
from schemas.tokenizer import PAD_ID, Tokenizer

__all__ = [
    "MISSING",
    "SPLITS",
    "Floats",
    "Ints",
    "ReaderData",
    "article_tokens",
    "load_reader_data",
    "reader_tokens",
]


@dataclass(frozen=True, eq=False)
class ReaderData:
    """Readers with at least one label and one click on a known article.

    Of A articles, R readers and C clicks. Reader r clicked `clicks[offsets[r]:offsets[r + 1]]`,
    oldest first, in the order in which the worker keeps a history.
    """

    name: str
    licence: str | None
    income_groups: list[str]
    texts: Sequence[str]  # A
    tags: Sequence[list[str]]  # A
    user_ids: list[str]  # R
    age: Floats  # (R,) years, NaN where missing
    income: Ints  # (R,) group, `MISSING` where missing
    gender: Ints  # (R,) 1 woman, 0 man, `MISSING` where missing
    split: Ints  # (R,) index into `SPLITS`
    offsets: Ints  # (R + 1,)
    clicks: Ints  # (C,) article index
    hours: Floats  # (C,) hours since 1970
    dropped: dict[str, int] = field(default_factory=dict)
    fingerprint: str = ""
    """Checksum of all that a training reads."""

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


def load_reader_data(
    reading_set: ReadingSet,
    reads_tags: bool = True,
    cache: Path | None = None,
    readers_per_shard: int = READERS_PER_SHARD,
) -> ReaderData:
    """Read a reading set; drop duplicates and what cannot be used, and count what was dropped.

    Texts and clicks are on disk and read when touched, so the set may be larger than memory.

    reads_tags: whether the texts start with the articles' tags. cache: where to keep the arrays
    for the next training; by default they last as long as what is returned.

    Raises:
        ReadingSetError: when a file is missing or a line is bad.
        TrainingError: when no reader has both a label and a click on a known article.
    """

    def write(directory: Path) -> None:
        write_arrays(reading_set, directory, reads_tags, readers_per_shard)

    with array_directory(reading_set, reads_tags, cache, write) as directory:
        facts = msgspec.json.decode((directory / FACTS_FILE).read_bytes(), type=Facts)
        texts, tags = open_articles(directory)
        columns = {
            name: load_array(directory / f"{name}.npy", np.int64)
            for name in ("income", "gender", "split", "offsets", "clicks")
        }
        return ReaderData(
            name=reading_set.info.name,
            licence=reading_set.info.licence,
            income_groups=reading_set.income_labels,
            texts=texts,
            tags=tags,
            user_ids=facts.user_ids,
            age=load_array(directory / "age.npy", np.float64),
            hours=load_array(directory / "hours.npy", np.float64),
            dropped=facts.dropped,
            fingerprint=facts.fingerprint,
            **columns,
        )


def article_tokens(data: ReaderData, tokenizer: Tokenizer, num_tokens: int) -> NDArray[np.int32]:
    """Return the token ids of every article, (A, num_tokens) int32, on disk and read when touched.

    Several processes share what the first of them writes.
    """
    with scratch_directory() as directory:
        path = directory / "tokens.npy"
        if is_main():
            write_tokens(
                tokenizer, data.texts, new_array(path, (len(data.texts), num_tokens), np.int32)
            )
        barrier()
        return load_array(path, np.int32)


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
