"""A whole installation for one test: topics, a Redis and workers of its own on a real broker."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import redis
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from schemas.records import Profile, Recommendation
from worker.kafka_security import librdkafka_config
from worker.local.redis_server import start_redis
from worker.local.server import RunningServer, spawn
from worker.local.topics import create_topics
from worker.local.up import environment
from worker.replay import Offsets, Progress, Replay
from worker.settings import Settings

WAIT_S = 90.0


def wait_until(what: str, is_true: Callable[[], bool], timeout_s: float = WAIT_S) -> None:
    """Poll until it is true; fail, naming what was waited for."""
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(0.05)


class Installation:
    """Start and stop workers, publish, and read what came of it."""

    def __init__(self, settings: Settings, directory: Path, stack: ExitStack) -> None:
        self.settings = settings
        self.client_config = librdkafka_config(settings)
        self.redis = redis.Redis.from_url(settings.redis_url)
        self.ends: Offsets = {}
        self._directory = directory
        self._stack = stack
        self._num_workers = 0

    def start_worker(self, **changes: Any) -> RunningServer:
        """Start a worker process."""
        self._num_workers += 1
        name = f"worker-{self._num_workers}"
        settings = msgspec.structs.replace(
            self.settings, data_dir=self._directory / name, **changes
        )
        worker = spawn(
            name,
            "worker",
            [sys.executable, "-m", "worker.cli", "worker"],
            0,
            self._directory / f"{name}.log",
            env={**os.environ, **environment(settings)},
        )
        self._stack.enter_context(worker)
        return worker

    def replay(self) -> Replay:
        """Return a producer of reading sets whose messages `wait_until_stored` waits for."""
        run = Replay(self.client_config, self.settings.topics)
        run.ends = self.ends
        return run

    def produce(
        self, topic: str, *messages: tuple[bytes | None, bytes | None], compression: str = "none"
    ) -> None:
        """Publish raw messages (key, value)."""
        config = {
            **self.client_config,
            # One request at a time: a batch that is sent again must not come after the next one.
            "max.in.flight.requests.per.connection": 1,
            "message.max.bytes": 4_000_000,
            "compression.type": compression,
        }
        producer = Producer(config)

        def note(error: object, message: Message) -> None:
            assert error is None, error
            place = (topic, message.partition() or 0)
            self.ends[place] = max(self.ends.get(place, 0), (message.offset() or 0) + 1)

        for key, value in messages:
            producer.produce(topic, value, key, on_delivery=note)
        assert producer.flush(30) == 0

    def wait_until_stored(self, timeout_s: float = WAIT_S) -> None:
        """Wait until the offsets of everything published are committed."""
        progress = Progress(self.client_config, self.settings.app_id, self.ends)
        try:
            wait_until("all committed", lambda: progress.num_left() == 0, timeout_s)
        finally:
            progress.close()

    def histories(self) -> dict[str, bytes]:
        """Return every reader's history by (unescaped) user id."""
        return self.values("history")

    def profiles(self) -> dict[str, Profile]:
        """Return every reader's profile."""
        found = self.values("profile").items()
        return {user: msgspec.json.decode(raw, type=Profile) for user, raw in found}

    def recommendations(self) -> dict[str, Recommendation]:
        """Return every reader's front page."""
        found = self.values("recs").items()
        return {user: msgspec.json.decode(raw, type=Recommendation) for user, raw in found}

    def values(self, kind: str) -> dict[str, bytes]:
        """Return what Redis holds of a kind of key, by (unescaped) user id."""
        names = sorted(self.redis.scan_iter(f"{kind}:*", 1000))
        values = self.redis.mget(names) if names else []
        users = [name.decode()[len(kind) + 2 : -1] for name in names]
        return dict(zip(users, values, strict=True))

    def read_topic(self, topic: str, is_enough: Callable[[list[Message]], bool]) -> list[Message]:
        """Read a topic from the start until it has given enough.

        Not to its end: the embedded broker does not tell where that is.
        """
        consumer = Consumer({**self.client_config, "group.id": f"test-{uuid4()}"})
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        found: list[Message] = []
        try:
            deadline = time.monotonic() + WAIT_S
            while not is_enough(found):
                assert time.monotonic() < deadline, f"{topic}: {len(found)} messages are not enough"
                found += [each for each in consumer.consume(1000, 0.2) if not each.error()]
        finally:
            consumer.close()
        return found


@contextmanager
def installation(
    bootstrap_servers: str, bundle: Path, directory: Path, **changes: Any
) -> Iterator[Installation]:
    """Give an installation with topics and a Redis nobody else uses."""
    name = uuid4().hex[:8]
    with ExitStack() as stack:
        server = stack.enter_context(start_redis(directory / "redis"))
        settings = Settings(
            bundle=bundle,
            app_id=f"frontpage-{name}",
            kafka_bootstrap=bootstrap_servers,
            redis_url=f"{server.url}/0",
            topic_articles=f"articles-{name}",
            topic_clicks=f"clicks-{name}",
            topic_erasures=f"erasures-{name}",
            topic_impressions=f"impressions-{name}",
            topic_preferences=f"preferences-{name}",
            topic_profiles=f"profiles-{name}",
            topic_reader_labels=f"reader-labels-{name}",
            topic_recommendations=f"recommendations-{name}",
            topic_served_features=f"served-features-{name}",
            topic_visits=f"visits-{name}",
            topic_dead_letters=f"dead-letters-{name}",
            commit_interval_s=0.2,
        )
        settings = msgspec.structs.replace(settings, **changes)
        topics = settings.topics
        config = {topic: topics.config(topic) for topic in topics.all()}
        # So that a test can publish what the worker must refuse.
        config[topics.clicks] = {"max.message.bytes": "4000000"}
        create_topics(
            bootstrap_servers,
            dict.fromkeys(topics.all(), 4),
            config=config,
            client_config=librdkafka_config(settings),
        )
        found = Installation(settings, directory, stack)
        yield found
        found.redis.close()
