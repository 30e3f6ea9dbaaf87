"""What contestants run on: a broker with preloaded clicks, and for each run a Redis of its own."""

import asyncio
import os
import shutil
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import redis
from confluent_kafka import Message, Producer

from schemas.errors import UnavailableError
from tests.benchmarks.stream.workload import Workload, message
from worker.article_store import ArticleStore
from worker.articles import Articles
from worker.catalogue import Catalogue
from worker.kafka_security import librdkafka_config
from worker.local.redis_server import start_redis
from worker.local.server import RunningServer, spawn
from worker.local.topics import create_topics
from worker.local.up import environment
from worker.model import load_model
from worker.redis_client import connect
from worker.replay import Offsets
from worker.settings import PREFIX, Settings

PARTITIONS = 4
EMBEDDED_FETCH_WAIT_S = 0.005
"""The embedded broker lets this time pass before it looks again; Apache Kafka does not."""

DUMP = "dump.rdb"
_ARTICLES_PER_STEP = 5_000


@dataclass(frozen=True)
class Clicks:
    """A preloaded topic of clicks."""

    topic: str
    num_clicks: int
    ends: Offsets


class Ground:
    """A broker, and what runs on it is prepared with.

    directory: for Redis, logs and catalogues, for this run of the benchmark only.
    """

    def __init__(self, bootstrap_servers: str, kind: str, directory: Path) -> None:
        self.kind = kind
        self.directory = directory
        fetch_wait_s = EMBEDDED_FETCH_WAIT_S if "embedded" in kind else Settings().fetch_wait_s
        self._settings = Settings(kafka_bootstrap=bootstrap_servers, fetch_wait_s=fetch_wait_s)
        self._num_runs = 0

    @property
    def client_config(self) -> dict[str, Any]:
        """What librdkafka needs to reach the broker."""
        return librdkafka_config(self._settings)

    def preload(self, workload: Workload, topic: str | None = None) -> Clicks:
        """Put all clicks on a topic, keyed by reader: on one of their own unless one is named."""
        if topic is None:
            topic = f"clicks-{uuid4().hex[:8]}"
            self.create([topic])
        ends: Offsets = {}

        def delivered(error: object, sent: Message) -> None:
            if error is not None:
                raise UnavailableError(f"Kafka: a click was not delivered: {error}")
            place = (topic, sent.partition() or 0)
            ends[place] = max(ends.get(place, 0), (sent.offset() or 0) + 1)

        producer = Producer(
            {**self.client_config, "linger.ms": 20, "partitioner": "murmur2_random"}
        )
        for number, click in enumerate(workload.clicks):
            producer.produce(topic, message(click), click.user_id, on_delivery=delivered)
            if number % 10_000 == 9_999:
                producer.flush()
        producer.flush()
        return Clicks(topic, len(workload.clicks), ends)

    def catalogue(
        self,
        workload: Workload,
        bundle: Path,
        also: Callable[[redis.Redis], None] = lambda _: None,
    ) -> Path:
        """Encode and store the articles as a worker would; return a copy of that Redis.

        also: stores what else is to be there.
        """
        directory = self.directory / f"catalogue-{uuid4().hex[:8]}"
        with start_redis(directory) as server:
            settings = Settings(redis_url=f"{server.url}/0", bundle=bundle)
            asyncio.run(_store_articles(settings, workload))
            client = redis.Redis.from_url(settings.redis_url)
            also(client)
            client.save()
            client.close()
        return directory / DUMP

    @contextmanager
    def site(self, clicks_topic: str, catalogue: Path, bundle: Path) -> Iterator["Site"]:
        """Give one run a Redis that holds the catalogue, topics to answer on and a group."""
        self._num_runs += 1
        directory = self.directory / f"run-{self._num_runs}"
        directory.mkdir()
        shutil.copyfile(catalogue, directory / DUMP)
        name = f"bench-{uuid4().hex[:8]}"
        topics = {
            f"topic_{field}": f"{name}-{topic}"
            for field, topic in msgspec.structs.asdict(Settings().topics).items()
        }
        with start_redis(directory) as server:
            settings = msgspec.structs.replace(
                self._settings,
                bundle=bundle.resolve(),
                app_id=name,
                redis_url=f"{server.url}/0",
                data_dir=directory / "worker",
                **{**topics, "topic_clicks": clicks_topic},
            )
            self.create(set(settings.topics.all()) - {clicks_topic})
            client = redis.Redis.from_url(settings.redis_url)
            try:
                yield Site(settings, client, directory)
            finally:
                client.close()

    def create(self, topics: Collection[str]) -> None:
        """Create topics of `PARTITIONS` partitions."""
        create_topics(self._settings.kafka_bootstrap, dict.fromkeys(topics, PARTITIONS))


@dataclass(frozen=True)
class Site:
    """One run's own Redis, topics, group and files."""

    settings: Settings
    redis: redis.Redis
    directory: Path

    def start(self, name: str, arguments: list[str], **changes: Any) -> RunningServer:
        """Start a contestant: a Python program that reads the worker's settings."""
        settings = msgspec.structs.replace(
            self.settings, data_dir=self.directory / f"{name}-data", **changes
        )
        # The benchmark's settings alone: what the user has set for other workers is not measured.
        others = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
        return spawn(
            name,
            "contestant",
            [sys.executable, *arguments],
            0,
            self.directory / f"{name}.log",
            # As `frontpage worker` sets it for itself: the same for all.
            env={**others, "OPENBLAS_NUM_THREADS": "1", **environment(settings)},
        )


async def _store_articles(settings: Settings, workload: Workload) -> None:
    model = load_model(settings.bundle)
    client = connect(settings)
    store = ArticleStore(client, settings.ttl_ms, model.manifest.model_version)
    catalogue = Catalogue(model.manifest.row_width, model.row_dtype)
    articles = Articles(model, catalogue, store)
    try:
        for start in range(0, len(workload.articles), _ARTICLES_PER_STEP):
            await articles.take(workload.articles[start : start + _ARTICLES_PER_STEP])
    finally:
        await client.aclose()
