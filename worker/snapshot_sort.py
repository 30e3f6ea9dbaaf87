"""Put clicks, and whatever else has a time, in order on disk: any number, in bounded memory.

Source: Knuth, "The Art of Computer Programming", volume 3, 5.4.1, multiway merging.
"""

import heapq
from collections.abc import Iterator
from pathlib import Path

import msgspec

from schemas.records import Click
from schemas.timestamps import to_ms

CHUNK_SIZE = 500_000
"""Clicks sorted in memory at once: about 60 MB with ids of ten characters."""

CHUNK_BYTES = 1 << 26
"""Bytes sorted in memory at once, whatever there are of them: an impression may hold 1,000 ids."""

MOST_RUNS = 128
"""Sorted files that are merged at once, each an open file."""

_TIME_BYTES = 8
_LENGTH_BYTES = 4
_BUFFER_BYTES = 1 << 17

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[str, str | None, str])


class EntrySorter:
    """Take byte strings in any order; give the distinct ones, smallest first.

    Sorted files are written to `directory`, which must exist and belong to this sorter alone,
    whenever `chunk_size` entries, or `chunk_bytes` of them, are in memory.
    """

    def __init__(
        self,
        directory: Path,
        chunk_size: int = CHUNK_SIZE,
        most_runs: int = MOST_RUNS,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:
        self._directory = directory
        self._chunk_size, self._chunk_bytes = chunk_size, chunk_bytes
        self._num_bytes = 0
        self._most_runs = most_runs
        self._chunk: list[bytes] = []
        self._runs: list[Path] = []
        self.num_written = 0
        """Sorted files written so far."""
        self.num_repeated = 0
        """Repeats dropped so far; final once `sorted` has ended."""

    def add(self, entry: bytes) -> None:
        """Take an entry."""
        self._chunk.append(entry)
        self._num_bytes += len(entry)
        if len(self._chunk) >= self._chunk_size or self._num_bytes >= self._chunk_bytes:
            self._spill()

    def sorted(self) -> Iterator[bytes]:
        """Yield the distinct entries in order; once."""
        if self._runs:
            self._spill()
        while len(self._runs) > self._most_runs:
            oldest, self._runs = self._runs[: self._most_runs], self._runs[self._most_runs :]
            self._write(self._merged(oldest))
            for path in oldest:
                path.unlink()
        # Given away, so that it does not stay in memory when it has been read.
        chunk, self._chunk = self._chunk, []
        chunk.sort()
        yield from self._merged(self._runs) if self._runs else self._distinct(iter(chunk))

    def _spill(self) -> None:
        self._chunk.sort()
        self._write(self._distinct(iter(self._chunk)))
        self._chunk, self._num_bytes = [], 0

    def _write(self, entries: Iterator[bytes]) -> None:
        path = self._directory / f"run-{self.num_written}"
        self.num_written += 1
        self._runs.append(path)
        with path.open("wb", buffering=_BUFFER_BYTES) as file:
            for entry in entries:
                file.write(len(entry).to_bytes(_LENGTH_BYTES, "big") + entry)

    def _merged(self, runs: list[Path]) -> Iterator[bytes]:
        return self._distinct(heapq.merge(*(_read(path) for path in runs)))

    def _distinct(self, entries: Iterator[bytes]) -> Iterator[bytes]:
        last = b""
        for entry in entries:
            if entry == last:
                self.num_repeated += 1
            else:
                last = entry
                yield entry


class ClickSorter:
    """Take clicks in any order; give the distinct ones, oldest first.

    Distinct as the worker's histories are: by reader, time, event and article. Arguments as those
    of `EntrySorter`.
    """

    def __init__(
        self, directory: Path, chunk_size: int = CHUNK_SIZE, most_runs: int = MOST_RUNS
    ) -> None:
        self._entries = EntrySorter(directory, chunk_size, most_runs)

    @property
    def num_written(self) -> int:
        """Sorted files written so far."""
        return self._entries.num_written

    @property
    def num_repeated(self) -> int:
        """Repeats dropped so far; final once `sorted` has ended."""
        return self._entries.num_repeated

    def add(self, click: Click) -> None:
        """Take a click."""
        self._entries.add(_pack(click))

    def sorted(self) -> Iterator[Click]:
        """Yield the distinct clicks by time, then reader, event and article; once."""
        return map(_unpack, self._entries.sorted())


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=_BUFFER_BYTES) as file:
        while length := file.read(_LENGTH_BYTES):
            yield file.read(int.from_bytes(length, "big"))


def _pack(click: Click) -> bytes:
    """Return the click's identity as bytes that sort by time."""
    time = to_ms(click.timestamp).to_bytes(_TIME_BYTES, "big")
    return time + _encoder.encode((click.user_id, click.event_id, click.article_id))


def _unpack(entry: bytes) -> Click:
    user_id, event_id, article_id = _decoder.decode(entry[_TIME_BYTES:])
    timestamp = int.from_bytes(entry[:_TIME_BYTES], "big")
    return Click(user_id=user_id, article_id=article_id, timestamp=timestamp, event_id=event_id)
