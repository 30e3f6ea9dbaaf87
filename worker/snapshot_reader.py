"""Read whole topics: from the beginning to the end they have now, and leave no trace."""

import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from confluent_kafka import (
    OFFSET_BEGINNING,
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from schemas.errors import SettingsError, UnavailableError
from worker.kafka_security import librdkafka_config
from worker.settings import PREFIX, Settings

SILENCE_S = 60.0
"""How long the brokers may say nothing before the reading is given up."""

_FETCH = 1000
_POLL_S = 0.05  # a fetch of fewer messages takes this long: the wait at the end of a partition
_QUEUED_KB = 32_768


class Extent(NamedTuple):
    """What a partition holds now."""

    begin: int
    """The offset of the first message; the end where there is none."""
    end: int
    first_ms: int | None
    """When that message was sent, epoch milliseconds; None where there is none, or no time."""
    is_cut: bool
    """Whether there were messages before it that have been deleted, other than by compaction."""


class TopicReader:
    """Read topics partition by partition, so that the same topics give the same order.

    Assigns partitions by hand: it joins no consumer group and commits nothing.

    Raises:
        SettingsError: when librdkafka refuses a setting, such as an unusable certificate.
    """

    def __init__(self, settings: Settings, silence_s: float = SILENCE_S) -> None:
        config = {
            **librdkafka_config(settings),
            "group.id": f"{settings.app_id}-snapshot",  # librdkafka wants a name, used or not
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",  # where retention deletes what is being read
            "fetch.wait.max.ms": 10,  # a broker that waits for messages holds up the next partition
            "queued.max.messages.kbytes": _QUEUED_KB,
            # By default a full queue is not looked at again for a second: who does something with
            # the messages, and so fills it, waited for four fifths of the time.
            "fetch.queue.backoff.ms": 5,
        }
        self._silence_s = silence_s
        try:
            self._consumer = Consumer(config)
        except KafkaException as error:
            raise SettingsError(f"{PREFIX}KAFKA_…: {error.args[0].str()}") from error

    def find(self, topics: Iterable[str]) -> dict[str, list[int]]:
        """Return each topic's partitions.

        Raises:
            UnavailableError: when the brokers do not answer or a topic does not exist.
        """
        known = self.partitions()
        found = {name: known.get(name, []) for name in topics}
        missing = [name for name, partitions in found.items() if not partitions]
        if missing:
            raise UnavailableError(f"Kafka: no such topic: {', '.join(missing)}")
        return found

    def partitions(self) -> dict[str, list[int]]:
        """Return the partitions of every topic there is.

        Raises:
            UnavailableError: when the brokers do not answer.
        """
        try:
            known = self._consumer.list_topics(timeout=min(10.0, self._silence_s)).topics
        except KafkaException as error:
            raise UnavailableError(f"Kafka (FRONTPAGE_KAFKA_BOOTSTRAP): {error}") from error
        return {name: sorted(topic.partitions) for name, topic in known.items()}

    def read(self, topic: str, partitions: Iterable[int]) -> Iterator[Message]:
        """Yield every message, partition by partition, in the order of the offsets.

        A partition ends where it ended when its first message was fetched: a stream that goes on
        does not keep the reading from ending.

        Raises:
            UnavailableError: when the brokers refuse, or say nothing for too long.
        """
        for partition in partitions:
            yield from self._partition(TopicPartition(topic, partition, OFFSET_BEGINNING))

    def fetch(self, topic: str, partition: int, offset: int) -> Message | None:
        """Return the message at an offset; None where there is none, or none any more.

        Not while `read` goes on: the reader is at one place at a time.

        Raises:
            UnavailableError: when the brokers refuse, or say nothing for too long.
        """
        message = next(self._messages(TopicPartition(topic, partition, offset)), None)
        self._consumer.unassign()  # or it would go on fetching what follows
        # Where the offset is gone, the reading begins at the earliest that is left.
        return message if message is not None and message.offset() == offset else None

    def extent(self, topic: str, partition: int, since_ms: int | None = None) -> Extent:
        """Return where a partition begins and ends, or begins with what was sent since a moment.

        Not while `read` goes on.

        Raises:
            UnavailableError: when the brokers refuse, or say nothing for too long.
        """
        place = TopicPartition(topic, partition, OFFSET_BEGINNING)
        first = next(self._messages(place), None)
        # As `_partition` does; of where it begins the embedded broker, which deletes nothing,
        # says 0.
        _, end = self._consumer.get_watermark_offsets(place, cached=True)
        self._consumer.unassign()
        try:
            low, _ = self._consumer.get_watermark_offsets(place, timeout=self._silence_s)
            if since_ms is not None:
                asked = TopicPartition(topic, partition, since_ms)
                (found,) = self._consumer.offsets_for_times([asked], timeout=self._silence_s)
        except KafkaException as error:
            raise UnavailableError(f"Kafka, topic {topic}: {error}") from error
        begin, first_ms = end, None
        if first is not None:
            kind, time_ms = first.timestamp()
            begin = first.offset() or 0
            first_ms = None if kind == TIMESTAMP_NOT_AVAILABLE else time_ms
        is_cut = low > 0
        if since_ms is not None:
            is_cut = is_cut and (first_ms is None or first_ms > since_ms)
            begin = max(begin, found.offset) if found.offset >= 0 else end
        return Extent(begin, end, first_ms, is_cut)

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()

    def _partition(self, place: TopicPartition) -> Iterator[Message]:
        end = None
        for message in self._messages(place):
            if end is None:
                # From the fetch, not asked for: the embedded broker answers wrongly when asked.
                _, end = self._consumer.get_watermark_offsets(place, cached=True)
            offset = message.offset()
            assert offset is not None
            if offset < end:
                yield message
            # Compaction and transactions leave holes: the last offsets need not have a message.
            if offset + 1 >= end:
                return

    def _messages(self, place: TopicPartition) -> Iterator[Message]:
        try:
            self._consumer.assign([place])
            heard = time.monotonic()
            while time.monotonic() - heard < self._silence_s:
                for message in self._consumer.consume(_FETCH, _POLL_S):
                    error = message.error()
                    if error is None:
                        yield message
                        heard = time.monotonic()
                    elif error.code() == KafkaError._PARTITION_EOF:
                        return
                    elif not error.retriable():
                        raise UnavailableError(f"Kafka, topic {place.topic}: {error.str()}")
        except KafkaException as error:
            raise UnavailableError(f"Kafka, topic {place.topic}: {error}") from error
        raise UnavailableError(
            f"Kafka, topic {place.topic}, partition {place.partition}: "
            f"nothing for {self._silence_s:.0f} s"
        )
