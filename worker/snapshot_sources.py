"""What a snapshot is made of: the messages of four topics, decoded as the worker decodes them."""

from collections import Counter
from collections.abc import Iterator
from typing import Generic, TypeVar

from confluent_kafka import Message

from schemas.decode import Withdrawal, decode_erasure, decode_reader_label, decode_withdrawal
from schemas.errors import InvalidMessageError
from schemas.records import Article, Click, ReaderLabel
from worker.intake import content_decoder_of, withdraws
from worker.settings import Settings
from worker.snapshot_reader import TopicReader

Value = TypeVar("Value")


class Latest(Generic[Value]):
    """The last value of each key.

    Later is what stands further on in the same partition; of two partitions, where producers
    disagree on the partition of a key, what has the later message time.
    """

    def __init__(self) -> None:
        self._held: dict[str, tuple[tuple[str | None, int | None], int, Value]] = {}

    def put(self, key: str, message: Message, value: Value) -> None:
        """Keep the value, unless a later one is held."""
        place, timestamp_ms = (message.topic(), message.partition()), message.timestamp()[1]
        held = self._held.get(key)
        if held is None or held[0] == place or held[1] <= timestamp_ms:
            self._held[key] = (place, timestamp_ms, value)

    def values(self) -> Iterator[Value]:
        """Yield the values, in the order in which their keys were first met."""
        return (value for _, _, value in self._held.values())


class Sources:
    """Read the topics of an installation; count what is bad, as the worker's dead letters do.

    now_ms: the time that a message may be a day ahead of.

    Raises:
        UnavailableError: from every method, when the brokers refuse or do not answer.
    """

    def __init__(
        self, settings: Settings, reader: TopicReader, now_ms: int, *, labels: bool
    ) -> None:
        topics = settings.topics
        self._topics, self._reader, self._now_ms = topics, reader, now_ms
        self.names = [topics.articles, topics.clicks, topics.erasures]
        if labels:
            self.names.append(topics.reader_labels)
        self.names = list(dict.fromkeys(self.names))
        self._partitions = reader.find(self.names)
        self.bad: dict[str, Counter[str]] = {}
        """Bad messages by topic and reason."""

    def erased(self) -> set[str]:
        """Return the readers who asked to be forgotten."""
        found = set()
        for message in self._read(self._topics.erasures):
            if message.value() is None:  # lets compaction remove the earlier ones of its key
                continue
            try:
                found.add(decode_erasure(message.value(), self._now_ms).user_id)
            except InvalidMessageError as error:
                self._count(message, error)
        return found

    def labels(self) -> Iterator[ReaderLabel]:
        """Yield each reader's last label; of a withdrawn one, a record without labels."""
        latest: Latest[ReaderLabel] = Latest()
        for message in self._read(self._topics.reader_labels):
            try:
                label = decode_reader_label(message.key(), message.value())
            except InvalidMessageError as error:
                self._count(message, error)
            else:
                latest.put(label.user_id, message, label)
        return latest.values()

    def stream(self) -> Iterator[tuple[Message, Article | Click | Withdrawal | None]]:
        """Yield what the topics of articles and clicks, or the one for both, hold."""
        for topic in dict.fromkeys((self._topics.articles, self._topics.clicks)):
            decode = content_decoder_of(topic, self._topics)
            for message in self._read(topic):
                try:
                    if message.value() is None and withdraws(topic, self._topics):
                        yield message, decode_withdrawal(message.key())
                    else:
                        yield message, decode(message.value(), self._now_ms)
                except InvalidMessageError as error:
                    self._count(message, error)

    def _read(self, topic: str) -> Iterator[Message]:
        return self._reader.read(topic, self._partitions[topic])

    def _count(self, message: Message, error: InvalidMessageError) -> None:
        self.bad.setdefault(str(message.topic()), Counter())[error.reason] += 1
