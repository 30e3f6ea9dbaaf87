"""Send records to Kafka through librdkafka and know when they have arrived.

Faust's own producer makes an object and a future per message; librdkafka batches in C, and one
flush per batch waits for all of it.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.errors import SettingsError, UnavailableError
from schemas.records import MAX_MESSAGE_BYTES, DeadLetter
from worker.settings import PREFIX
from worker.tracing import OwnHeaders

DELIVERY_TIMEOUT_S = 30.0
FLUSH_S = 0.5
"""How long a thread waits at once: whoever stops meanwhile waits for it no longer."""
ANY_PARTITION = -1
TRUNCATED_BYTES = 64 * 1024
"""What is kept of key and value of an oversized message; its offset points at the rest."""


logger = logging.getLogger(__name__)


class _Sent(NamedTuple):
    """A message, to be sent again if brokers do not take it together with others."""

    topic: str
    key: str | bytes | None
    value: bytes | None
    headers: OwnHeaders | None
    time_ms: int
    partition: int


class Emitter:
    """A producer whose deliveries can be waited for.

    timeout_s: when a message that has not arrived is given up.
    """

    def __init__(
        self, client_config: dict[str, Any], timeout_s: float = DELIVERY_TIMEOUT_S
    ) -> None:
        self._timeout_s = timeout_s
        self._config = {
            **client_config,
            "compression.type": "lz4",
            "message.timeout.ms": int(timeout_s * 1000),
            "queue.buffering.max.messages": 200_000,
            "message.max.bytes": MAX_MESSAGE_BYTES + TRUNCATED_BYTES,
            # An object and a call for each message that arrived, as nearly all do, would be a
            # fifth of what sending costs.
            "delivery.report.only.error": True,
        }
        self._producer = connect_producer(
            {**self._config, "linger.ms": 5, "on_delivery": self._on_delivery}
        )
        self._too_large: deque[_Sent] = deque()
        self._sending_alone = threading.Lock()
        self._alone: Producer | None = None
        self.num_failures = 0
        """Messages that could not be delivered, since the start."""

    def send(
        self,
        topic: str,
        key: str,
        value: bytes,
        headers: OwnHeaders | None = None,
    ) -> None:
        """Queue a message; a full queue is waited out here, which slows the caller down."""
        if headers is not None:
            self._produce(topic, key, value, headers)
            return
        try:
            self._producer.produce(topic, value, key)
        except (BufferError, KafkaException):
            self._produce(topic, key, value)

    def send_tombstone(
        self, topic: str, key: str, time_ms: int = 0, partition: int = ANY_PARTITION
    ) -> None:
        """Queue a message without a value: of this key nothing holds any more.

        time_ms: that of the message, now by default. partition: by default that of the key.
        """
        self._produce(topic, key, None, None, time_ms, partition)

    def send_dead_letter(
        self, topic: str, key: bytes | None, value: bytes | None, letter: DeadLetter
    ) -> None:
        """Queue a message that cannot be used, with the reason in its headers."""
        if letter.truncated:
            key, value = (key or b"")[:TRUNCATED_BYTES], (value or b"")[:TRUNCATED_BYTES]
        self._produce(topic, key, value, [*letter.headers()])

    def _produce(
        self,
        topic: str,
        key: str | bytes | None,
        value: bytes | None,
        headers: OwnHeaders | None = None,
        time_ms: int = 0,
        partition: int = ANY_PARTITION,
    ) -> None:
        # The message of a delivery report has lost its headers and its time.
        note = partial(self._on_delivery, headers=headers, time_ms=time_ms, partition=partition)
        message = _Sent(topic, key, value, headers, time_ms, partition)
        self._queue(self._producer, message, note)

    def _queue(self, producer: Producer, message: _Sent, on_delivery: Any) -> None:
        while True:
            try:
                producer.produce(
                    message.topic,
                    message.value,
                    message.key,
                    message.partition,
                    headers=message.headers,
                    timestamp=message.time_ms,
                    on_delivery=on_delivery,
                )
                return
            except BufferError:
                producer.poll(0.1)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                    raise UnavailableError(f"Kafka: {error.args[0].str()}") from error
                self._drop(message.topic)
                return

    async def delivered(self, num_failures: int) -> None:
        """Wait until everything sent has been acknowledged by the brokers.

        num_failures: the count of failures before the first message that matters.

        Raises:
            UnavailableError: when anything was not; the caller sends its whole batch again.
        """
        # In a thread: it waits, and the event loop has other partitions to serve.
        deadline = time.monotonic() + self._timeout_s + 5
        while (remaining := await asyncio.to_thread(self._flush)) > 0:
            if time.monotonic() > deadline:
                break
        failed = self.num_failures - num_failures + remaining
        if failed:
            raise UnavailableError(f"Kafka: {failed} messages were not delivered")

    def check(self, topics: Iterable[str], timeout_s: float = 10.0) -> None:
        """Fail unless the brokers answer and the topics exist.

        Raises:
            UnavailableError: names what is missing.
        """
        known = self.partitions(timeout_s)
        missing = [name for name in topics if not known.get(name)]
        if missing:
            raise UnavailableError(f"Kafka: no such topic: {', '.join(missing)}")

    def partitions(self, timeout_s: float = 10.0) -> dict[str, list[int]]:
        """Return the partitions of every topic there is.

        Raises:
            UnavailableError: when the brokers do not answer.
        """
        try:
            known = self._producer.list_topics(timeout=timeout_s).topics
        except KafkaException as error:
            raise UnavailableError(f"Kafka (FRONTPAGE_KAFKA_BOOTSTRAP): {error}") from error
        return {name: sorted(topic.partitions) for name, topic in known.items()}

    def _flush(self) -> int:
        """Wait a while for all that was sent; return how much is not answered for."""
        remaining: int = self._producer.flush(FLUSH_S)
        # Who finds nothing left here waits until what somebody else took has arrived.
        with self._sending_alone:
            if self._too_large and self._alone is None:
                self._alone = connect_producer({**self._config, "batch.num.messages": 1})
            if self._alone is None:
                return remaining
            while self._too_large:
                self._queue(self._alone, self._too_large.popleft(), self._on_delivery_alone)
            return remaining + int(self._alone.flush(FLUSH_S))

    def _on_delivery(
        self,
        error: KafkaError | None,
        message: Message,
        *,
        headers: OwnHeaders | None = None,
        time_ms: int = 0,
        partition: int = ANY_PARTITION,
    ) -> None:
        if error is None:  # not reported
            return
        topic = message.topic()
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE and topic is not None:
            # Brokers measure what is sent at once, and refuse all of it: this one may be small.
            key, value = message.key(), message.value()
            self._too_large.append(_Sent(topic, key, value, headers, time_ms, partition))
        else:
            self.num_failures += 1

    def _on_delivery_alone(self, error: KafkaError | None, message: Message) -> None:
        if error is None:  # not reported
            return
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            self._drop(message.topic())
        else:
            self.num_failures += 1

    def _drop(self, topic: str | None) -> None:
        # No repetition makes it smaller; going round and round would stop everything else.
        logger.error("a message is larger than topic %s takes, and was dropped", topic)


def connect_producer(config: dict[str, Any]) -> Producer:
    """Return a producer that waits for all replicas and partitions keys as Java's client does.

    Raises:
        SettingsError: when librdkafka refuses a setting, such as an unusable certificate.
    """
    try:
        return Producer({**config, "acks": "all", "partitioner": "murmur2_random"})
    except KafkaException as error:
        raise SettingsError(f"{PREFIX}KAFKA_…: {error.args[0].str()}") from error
