"""Letters on the topic of dead letters: read them back, choose among them."""

import heapq
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from schemas.records import PLACE, DeadLetter
from worker.snapshot_reader import TopicReader

UNREADABLE = "unreadable"
"""The reason of a letter whose headers do not say what it is."""

_REASON = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_MAX_PARTITION = 2**31 - 1
_MAX_OFFSET = 2**63 - 1


class Letter(NamedTuple):
    """A message of the topic of dead letters."""

    place: str
    """Where it stands itself: topic[partition]@offset."""
    partition: int
    offset: int
    time_ms: int | None
    """When it was put aside, epoch milliseconds."""
    about: DeadLetter | None
    """None of an unreadable one."""
    size: int
    """Bytes of the value, of a truncated one those of the whole."""
    key: bytes | None = None
    value: bytes | None = None

    @property
    def reason(self) -> str:
        """Why it was put aside."""
        return UNREADABLE if self.about is None else self.about.reason

    @property
    def topic(self) -> str | None:
        """Where it came from."""
        return None if self.about is None else self.about.topic


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which letters; without anything given, all."""

    reasons: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    """Those that letters came from."""
    since_ms: int | None = None
    until_ms: int | None = None
    """Not this moment itself."""
    limit: int | None = None
    """Only the newest of those."""

    def choose(self, letters: Iterable[Letter]) -> Iterator[Letter]:
        """Yield the letters that are wanted: as they come, or with a limit by time."""
        wanted = (letter for letter in letters if self._takes(letter))
        if self.limit is None:
            yield from wanted
        else:
            # Holds no more than it returns, however long the topic is.
            yield from reversed(heapq.nlargest(self.limit, wanted, _age))

    def _takes(self, letter: Letter) -> bool:
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (not self.topics or letter.topic in self.topics)
            and self._takes_time(letter.time_ms)
        )

    def _takes_time(self, time_ms: int | None) -> bool:
        if self.since_ms is None and self.until_ms is None:
            return True
        if time_ms is None:
            return False
        since_ms = time_ms if self.since_ms is None else self.since_ms
        return since_ms <= time_ms and (self.until_ms is None or time_ms < self.until_ms)


def _age(letter: Letter) -> tuple[int, int, int]:
    return (-1 if letter.time_ms is None else letter.time_ms, letter.partition, letter.offset)


def read_letters(reader: TopicReader, topic: str, *, contents: bool) -> Iterator[Letter]:
    """Yield every letter up to the end the topic has now, partition by partition.

    contents: whether with keys and values; without, they are not held either.

    Raises:
        UnavailableError: when the topic does not exist or the brokers do not answer.
    """
    for message in reader.read(topic, reader.find([topic])[topic]):
        yield letter_of(message, contents=contents)


def letter_of(message: Message, *, contents: bool) -> Letter:
    """Read a letter; one that is not as the worker writes it is unreadable, never an error."""
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None and partition is not None and offset is not None
    kind, time_ms = message.timestamp()
    value = message.value()
    about = _about(message, topic)
    return Letter(
        place=place(topic, partition, offset),
        partition=partition,
        offset=offset,
        time_ms=None if kind == TIMESTAMP_NOT_AVAILABLE or time_ms < 0 else time_ms,
        about=about,
        size=len(value or b"") if about is None else about.size,
        key=message.key() if contents else None,
        value=value if contents else None,
    )


def _about(message: Message, topic: str) -> DeadLetter | None:
    try:
        headers: Any = message.headers() or ()  # as received: pairs of a name and bytes
        about = DeadLetter.from_headers(headers)
    except (msgspec.ValidationError, UnicodeDecodeError):
        return None
    # Whoever may write to the topic may write anything: what passes here is safe to print, to
    # look up and to send to. From the topic itself nothing can have come: nobody consumes it.
    is_sound = (
        _REASON.fullmatch(about.reason)
        and _TOPIC.fullmatch(about.topic)
        and about.topic != topic
        and 0 <= about.partition <= _MAX_PARTITION
        and 0 <= about.offset <= _MAX_OFFSET
        and about.size >= 0
        and (about.republished_from is None or PLACE.fullmatch(about.republished_from))
    )
    return about if is_sound else None


def place(topic: str, partition: int, offset: int) -> str:
    """Name where a message stands.

    >>> place("clicks", 3, 1207)
    'clicks[3]@1207'
    """
    return f"{topic}[{partition}]@{offset}"
