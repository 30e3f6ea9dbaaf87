"""Reading sets: the directory of gzipped JSON Lines that training, evaluation and replay read.

`articles.jsonl.gz`, `users.jsonl.gz`, `clicks.jsonl.gz` (in time order), `dataset.json` and
optionally `impressions.jsonl.gz`. Any field but the ids may be null.
"""

import gzip
import zlib
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from schemas.errors import ReadingSetError
from schemas.records import Article, Click, Id, Impression

Split = Literal["train", "valid", "test"]
Record = TypeVar("Record", bound=msgspec.Struct)

_TRAIN_SHARE, _VALID_SHARE = 0.7, 0.15


class Reader(msgspec.Struct, frozen=True, kw_only=True):
    """A labelled reader; any label may be missing."""

    user_id: Id
    age: float | None = None
    gender: Literal["female", "male"] | None = None
    income_group: int | None = None
    split: Split | None = None


class DatasetInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The set's description, `dataset.json`."""

    name: str
    language: str | None = None
    num_income_groups: int = 10
    income_labels: list[str] | None = None
    licence: str | None = None
    source: str | None = None
    timestamps: str | None = None
    num_articles: int | None = None
    num_users: int | None = None
    num_clicks: int | None = None
    num_impressions: int | None = None


class ReadingSet:
    """Stream the records of a reading set from disk.

    Raises:
        ReadingSetError: when a file is missing or a line is bad; names file and line.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        path = directory / "dataset.json"
        try:
            self.info = msgspec.json.decode(path.read_bytes(), type=DatasetInfo)
        except OSError as error:
            raise ReadingSetError(f"{path}: {error.strerror}") from error
        except msgspec.DecodeError as error:
            raise ReadingSetError(f"{path}: {error}") from error

    @property
    def income_labels(self) -> list[str]:
        """Name the income groups, lowest first."""
        labels = self.info.income_labels
        return labels or [str(group) for group in range(self.info.num_income_groups)]

    def articles(self) -> Iterator[Article]:
        """Yield the articles."""
        return self._records("articles", Article)

    def readers(self) -> Iterator[Reader]:
        """Yield the readers with their labels."""
        return self._records("users", Reader)

    def clicks(self) -> Iterator[Click]:
        """Yield the clicks in time order."""
        return self._records("clicks", Click)

    def impressions(self) -> Iterator[Impression]:
        """Yield the impressions; of a set without them, none."""
        if not (self.directory / "impressions.jsonl.gz").exists():
            return iter(())
        return self._records("impressions", Impression)

    def _records(self, name: str, kind: type[Record]) -> Iterator[Record]:
        path = self.directory / f"{name}.jsonl.gz"
        decoder = msgspec.json.Decoder(kind)
        number = 0
        try:
            with gzip.open(path, "rb") as lines:
                for number, line in enumerate(lines, start=1):  # noqa: B007 used in the error
                    yield decoder.decode(line)
        except msgspec.DecodeError as error:
            raise ReadingSetError(f"{path}:{number}: {error}") from error
        except (OSError, EOFError, zlib.error) as error:
            raise ReadingSetError(f"{path}: {error}") from error


def split_of(user_id: str) -> Split:
    """Return the split of a reader that has none: the same for ever, 70 / 15 / 15.

    >>> split_of("u1"), split_of("u1") == split_of("u1")
    ('train', True)
    """
    digest = blake2b(user_id.encode(), digest_size=8, person=b"split").digest()
    point = int.from_bytes(digest, "big") / 2**64
    if point < _TRAIN_SHARE:
        return "train"
    return "valid" if point < _TRAIN_SHARE + _VALID_SHARE else "test"
