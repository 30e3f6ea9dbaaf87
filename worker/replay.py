"""Publish a reading set: its articles, then its clicks, as their producers would; and visits."""

import random
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from tqdm import tqdm

from schemas.errors import UnavailableError
from schemas.reading_set import ReadingSet
from schemas.records import Visit
from schemas.timestamps import to_ms
from schemas.topics import Topics
from worker.emitter import connect_producer

Offsets = dict[tuple[str, int], int]
"""The offset after the last message, by topic and partition."""

Record = TypeVar("Record", bound=msgspec.Struct)
_json = msgspec.json.Encoder()


class Replay:
    """Publish to the articles and clicks topics, keyed by article and by reader."""

    def __init__(self, client_config: dict[str, Any], topics: Topics) -> None:
        self._producer = connect_producer({**client_config, "linger.ms": 20})
        self._topics = topics
        self._failure: KafkaError | None = None
        self._newest: datetime | int | None = None
        self.ends: Offsets = {}

    def articles(self, reading_set: ReadingSet, *, shuffle: random.Random | None = None) -> int:
        """Publish the articles with a progress bar; return how many.

        Raises:
            UnavailableError: when a message cannot be delivered.
        """
        articles = _ordered(reading_set.articles(), shuffle)
        num_sent = 0
        for article in tqdm(articles, "articles", reading_set.info.num_articles, unit=""):
            self._send(self._topics.articles, article.article_id, _json.encode(article))
            num_sent += 1
        self._flush()
        return num_sent

    def clicks(
        self,
        reading_set: ReadingSet,
        *,
        rate: float | None = None,
        shuffle: random.Random | None = None,
    ) -> int:
        """Publish the clicks, at most `rate` a second, with a progress bar; return how many.

        Raises:
            UnavailableError: when a message cannot be delivered.
        """
        clicks = _ordered(reading_set.clicks(), shuffle)
        start = time.monotonic()
        num_sent = 0
        for click in tqdm(clicks, "clicks", reading_set.info.num_clicks, unit=""):
            self._send(self._topics.clicks, click.user_id, _json.encode(click))
            self._newest = max(self._newest or click.timestamp, click.timestamp, key=to_ms)
            num_sent += 1
            if rate and (ahead := num_sent / rate - (time.monotonic() - start)) > 0:
                self._producer.poll(0)
                time.sleep(ahead)
        self._flush()
        return num_sent

    def visits(self, user_ids: Iterable[str]) -> None:
        """Let readers come back, at the time of the newest click that was published.

        Raises:
            UnavailableError: when a message cannot be delivered.
        """
        assert self._newest is not None, "nobody comes back before the first click"
        for user_id in user_ids:
            visit = Visit(user_id=user_id, timestamp=self._newest)
            self._send(self._topics.visits, user_id, _json.encode(visit))
        self._flush()

    def _send(self, topic: str, key: str, value: bytes) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, on_delivery=self._on_delivery)
                break
            except BufferError:
                self._producer.poll(0.1)
        self._producer.poll(0)
        self._check()

    def _flush(self) -> None:
        remaining = self._producer.flush(60)
        self._check()
        if remaining:
            raise UnavailableError(f"Kafka: {remaining} messages not delivered in time")

    def _check(self) -> None:
        if self._failure is not None:
            raise UnavailableError(f"Kafka: {self._failure.str()}")

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failure = error
            return
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        assert topic is not None and partition is not None and offset is not None
        place = (topic, partition)
        self.ends[place] = max(self.ends.get(place, 0), offset + 1)


def _ordered(records: Iterable[Record], shuffle: random.Random | None) -> Iterable[Record]:
    if shuffle is None:
        return records
    everything = list(records)
    shuffle.shuffle(everything)
    return everything


MOVING_COORDINATOR = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError._TIMED_OUT,
}


class Progress:
    """How far a consumer group has come towards given offsets."""

    def __init__(self, client_config: dict[str, Any], group: str, ends: Offsets) -> None:
        # Never subscribed, so it asks for the group's offsets without joining it.
        self._consumer = Consumer({**client_config, "group.id": group, "enable.auto.commit": False})
        self._ends = ends
        self._num_left = sum(ends.values())

    def num_left(self) -> int:
        """Return how many of the messages are not committed yet.

        Raises:
            UnavailableError: when the brokers do not answer.
        """
        places = [TopicPartition(topic, partition) for topic, partition in self._ends]
        try:
            committed = self._consumer.committed(places, timeout=10)
        except KafkaException as error:
            # Right after the start, or after a broker's death, the group's keeper moves.
            if error.args[0].code() in MOVING_COORDINATOR:
                return self._num_left
            raise UnavailableError(f"Kafka: {error}") from error
        self._num_left = sum(
            max(0, self._ends[place.topic, place.partition] - max(place.offset, 0))
            for place in committed
        )
        return self._num_left

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()
