"""Articles on disk: texts and tags that are read when asked for, and never all in memory."""

import os
import weakref
from array import array
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import IO, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from export.disk_arrays import Ints, Number, load_array, save_array
from schemas.history import article_ref
from schemas.tokenizer import Tokenizer

_ARTICLES_PER_CHUNK = 4_096


class Texts(Sequence[str]):
    """Texts in a file: text a is the UTF-8 between the bytes `begins[a]` and `ends[a]`."""

    def __init__(self, path: Path, begins: Ints, ends: Ints) -> None:
        self._begins, self._ends = begins, ends
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def __len__(self) -> int:
        return len(self._begins)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self[index] for index in range(*at.indices(len(self)))]
        begin, end = int(self._begins[at]), int(self._ends[at])
        # Not mapped into memory: what is read does not stay.
        return os.pread(self._file, end - begin, begin).decode()


class Tags(Sequence[list[str]]):
    """Tags as numbers in a mapped array: those of article a are `numbers[begins[a]:ends[a]]`."""

    def __init__(self, names: list[str], numbers: Ints, begins: Ints, ends: Ints) -> None:
        self._names, self._numbers, self._begins, self._ends = names, numbers, begins, ends

    def __len__(self) -> int:
        return len(self._begins)

    @overload
    def __getitem__(self, at: int) -> list[str]: ...
    @overload
    def __getitem__(self, at: slice) -> list[list[str]]: ...
    def __getitem__(self, at: int | slice) -> list[str] | list[list[str]]:
        if isinstance(at, slice):
            return [self[index] for index in range(*at.indices(len(self)))]
        numbers = self._numbers[int(self._begins[at]) : int(self._ends[at])]
        return [self._names[number] for number in numbers.tolist()]


class ArticleIndex:
    """Find an article's row by its reference; 16 bytes an article.

    Articles with the same reference (2 in 100,000 sets of 100,000 have one such pair) are one
    article, as they are for the worker.
    """

    def __init__(self, refs: NDArray[np.uint64]) -> None:
        self._order: Ints = np.argsort(refs)
        self._refs = refs[self._order]

    def rows(self, refs: NDArray[np.uint64]) -> Ints:
        """Return the row of each reference, -1 where there is none: (N,)."""
        if len(self._refs) == 0:
            return np.full(len(refs), -1)
        at = np.minimum(np.searchsorted(self._refs, refs), len(self._refs) - 1)
        return np.where(self._refs[at] == refs, self._order[at], -1)


class ArticleWriter:
    """Append articles to files; of those with the same id the last counts, in the first's row.

    Holds the tags' names and about 32 bytes an article in memory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file: IO[bytes] = (directory / "texts.bin").open("wb")
        self._refs, self._text_ends, self._tag_ends = array("Q"), array("q"), array("q")
        self._tags = array("q")
        self._numbers: dict[str, int] = {}
        self._digest = blake2b(digest_size=16)

    def __enter__(self) -> "ArticleWriter":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, article_id: str, text: str, tags: Sequence[str]) -> None:
        """Append one article."""
        raw = text.encode()
        self._file.write(raw)
        self._refs.append(ref_number(article_id))
        self._text_ends.append(self._file.tell())
        self._tags.extend(self._numbers.setdefault(tag, len(self._numbers)) for tag in tags)
        self._tag_ends.append(len(self._tags))
        self._digest.update(self._refs[-1].to_bytes(8, "big") + len(raw).to_bytes(8, "big") + raw)

    def finish(self) -> ArticleIndex:
        """Write what is held, and return where to find each article."""
        self._file.close()
        refs, records = _distinct(_numbers(self._refs, np.uint64))
        for name, held in (("text", self._text_ends), ("tag", self._tag_ends)):
            ends = _numbers(held, np.int64)
            begins = np.concatenate([np.zeros(1, dtype=np.int64), ends[:-1]])
            save_array(self._directory / f"{name}_begins.npy", begins[records])
            save_array(self._directory / f"{name}_ends.npy", ends[records])
        save_array(self._directory / "tag_numbers.npy", _numbers(self._tags, np.int64))
        names = msgspec.json.encode(list(self._numbers))
        (self._directory / "tags.json").write_bytes(names)
        return ArticleIndex(refs)

    def digest(self) -> bytes:
        """Return a checksum of the articles' ids and texts."""
        return self._digest.digest()


def open_articles(directory: Path) -> tuple[Texts, Tags]:
    """Open what an `ArticleWriter` wrote."""
    parts = {
        name: (
            load_array(directory / f"{name}_begins.npy", np.int64),
            load_array(directory / f"{name}_ends.npy", np.int64),
        )
        for name in ("text", "tag")
    }
    names = msgspec.json.decode((directory / "tags.json").read_bytes(), type=list[str])
    numbers = load_array(directory / "tag_numbers.npy", np.int64)
    return Texts(directory / "texts.bin", *parts["text"]), Tags(names, numbers, *parts["tag"])


def ref_number(article_id: str) -> int:
    """Return an article's 6-byte reference as an integer, which sorts as the bytes do."""
    return int.from_bytes(article_ref(article_id), "big")


def write_tokens(tokenizer: Tokenizer, texts: Sequence[str], out: NDArray[np.int32]) -> None:
    """Fill `out` (A, T) with the token ids of the texts, a few thousand at a time."""
    for start in range(0, len(texts), _ARTICLES_PER_CHUNK):
        part = list(texts[start : start + _ARTICLES_PER_CHUNK])
        out[start : start + len(part)] = tokenizer.encode(part, out.shape[1])


def _distinct(refs: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], Ints]:
    """Return the distinct references, in the order they first come, and where each comes last."""
    if len(refs) == 0:
        return refs, np.zeros(0, dtype=np.int64)
    order = np.argsort(refs, kind="stable")
    edges = np.flatnonzero(np.diff(refs[order])) + 1
    first = order[np.concatenate([[0], edges])]
    last = order[np.concatenate([edges, [len(order)]]) - 1]
    by_first = np.argsort(first)
    return refs[first[by_first]], last[by_first]


def _numbers(held: "array[int]", kind: type[Number]) -> NDArray[Number]:
    return np.frombuffer(held, dtype=kind) if len(held) else np.zeros(0, dtype=kind)
