"""Chunks of fetched messages, and the account of what of them may be committed.

A chunk counts only once everything that follows from it is stored: what is committed is, partition
by partition, the longest run of stored chunks.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

Place = tuple[str, int]
"""Topic and partition."""


class Record(NamedTuple):
    """A message as it was fetched.

    timestamp: when the brokers got it, epoch milliseconds. headers: None where it has none.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] | None = None


class Chunk:
    """Messages of one topic that were fetched at once, in offset order in each partition.

    Call `set_stored` when everything that follows from them is in Redis and Kafka: only then may
    `ends` be committed, the next offset of each partition.
    """

    __slots__ = ("ends", "records", "stored", "topic")

    def __init__(self, topic: str, records: Sequence[Record]) -> None:
        self.topic = topic
        self.records = records
        self.ends = {record.partition: record.offset + 1 for record in records}
        self.stored = False

    def set_stored(self) -> None:
        """Say that the chunk may be committed; what it held is let go."""
        self.stored = True
        self.records = ()


def place_of(chunks: Iterable[Chunk]) -> str:
    """Say where chunks of a topic are from, for the log: hundreds may wait after an outage.

    >>> chunk = Chunk("clicks", [Record("clicks", number, 8, 0, None, None) for number in (3, 1)])
    >>> place_of([chunk])
    'clicks[1] up to offset 8, clicks[3] up to offset 8'
    """
    ends: dict[Place, int] = {}
    for chunk in chunks:
        for partition, end in chunk.ends.items():
            place = chunk.topic, partition
            ends[place] = max(end, ends.get(place, 0))
    return ", ".join(
        f"{topic}[{number}] up to offset {end - 1}" for (topic, number), end in sorted(ends.items())
    )


class Account:
    """What has been handed out, and what of it may be committed."""

    def __init__(self) -> None:
        self._chunks: defaultdict[Place, deque[Chunk]] = defaultdict(deque)
        self._due: dict[Place, int] = {}

    def hand_out(self, chunk: Chunk) -> None:
        """Note a chunk that is going to be processed."""
        for partition in chunk.ends:
            self._chunks[chunk.topic, partition].append(chunk)

    def due(self) -> dict[Place, int]:
        """Return what may be committed, and has not been."""
        for (topic, partition), chunks in self._chunks.items():
            while chunks and chunks[0].stored:
                self._due[topic, partition] = chunks.popleft().ends[partition]
        return dict(self._due)

    def committed(self, ends: dict[Place, int]) -> None:
        """Note what has been committed."""
        for place, end in ends.items():
            if self._due.get(place) == end:
                del self._due[place]

    def forget(self) -> None:
        """Begin anew: others may have taken over. What was handed out counts no more."""
        self._chunks.clear()
        self._due.clear()

    def has_unstored(self, topic: str) -> bool:
        """Tell whether chunks of a topic are handed out and not stored yet."""
        return any(
            place[0] == topic and not all(chunk.stored for chunk in chunks)
            for place, chunks in self._chunks.items()
        )

    def is_settled(self) -> bool:
        """Tell whether all that is handed out is stored."""
        return all(chunk.stored for chunks in self._chunks.values() for chunk in chunks)
