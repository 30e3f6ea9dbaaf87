"""What a live evaluation runs on: a Redis, a broker or topics on one, and a worker, for its time.

Redis is always one of our own: its keys have no prefix, and two installations cannot share one.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from uuid import uuid4

import click
import msgspec
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from schemas.errors import UnavailableError
from worker.kafka_security import librdkafka_config
from worker.local.broker import start_broker
from worker.local.redis_server import start_redis
from worker.local.server import RunningServer, spawn
from worker.local.topics import create_topics
from worker.local.up import environment
from worker.settings import PREFIX, Settings
from worker.stream_evaluation.metrics import PAGE_LENGTH

# What is measured is the page without the places given away to learn about articles, as in the
# evaluation without a worker.
NO_EXPLORATION = "[selection]\nexplore_share = 0.0\n"

FETCH_WAIT_S = 0.005
"""On the embedded broker, which lets this time pass before it looks again."""

_ADMIN_S = 30.0


class LiveWorker(NamedTuple):
    """A running worker and what it was told."""

    settings: Settings
    process: RunningServer

    def check(self) -> None:
        """Fail unless the worker still runs.

        Raises:
            UnavailableError: quotes the last line of its log, which goes with the run.
        """
        if not self.process.is_alive():
            log = self.process.log_path.read_text(errors="replace").strip()
            raise UnavailableError(f"the worker ended: {log.rpartition(chr(10))[2] or 'no log'}")


@contextmanager
def stopped_like_ctrl_c() -> Iterator[None]:
    """Let `kill` stop everything in order, as Ctrl-C does.

    And Ctrl-C even where a shell has started this in the background, which ignores it.
    """
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def live_worker(bundle: Path, kafka: Settings | None) -> Iterator[LiveWorker]:
    """Start everything, and leave nothing behind.

    kafka: whose brokers to use, in topics of our own; None starts a broker.

    Raises:
        UnavailableError: when anything does not start.
    """
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="frontpage-live-")))
        redis = stack.enter_context(start_redis(directory))
        if kafka is None:
            broker = stack.enter_context(start_broker(directory))
            kafka = Settings(kafka_bootstrap=broker.bootstrap_servers, fetch_wait_s=FETCH_WAIT_S)
            stack.enter_context(_topics(settings := _settings(kafka, directory, bundle, redis)))
        else:
            settings = _settings(kafka, directory, bundle, redis)
            stack.enter_context(_topics(settings, delete=True))
        # The evaluation's settings alone: what the user has set for other workers is not measured.
        others = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        process = spawn(
            "worker",
            "worker",
            [sys.executable, "-m", "worker.cli", "worker"],
            0,
            directory / "worker.log",
            env={**others, **environment(settings)},
        )
        yield LiveWorker(settings, stack.enter_context(process))


def _settings(kafka: Settings, directory: Path, bundle: Path, redis: RunningServer) -> Settings:
    options = directory / "recommend.toml"
    options.write_text(NO_EXPLORATION, encoding="utf-8")
    name = f"frontpage-live-{uuid4().hex[:12]}"
    topics = {
        f"topic_{field}": f"{name}-{topic}"
        for field, topic in msgspec.structs.asdict(Settings().topics).items()
    }
    security = {
        field: getattr(kafka, field)
        for field in Settings.__struct_fields__
        if field.startswith("kafka_")
    }
    settings = Settings(
        bundle=bundle.resolve(),
        data_dir=directory / "worker",
        app_id=name,
        log_level="WARNING",
        redis_url=f"{redis.url}/0",
        num_recommendations=PAGE_LENGTH,
        recommend_file=options,
        fetch_wait_s=kafka.fetch_wait_s,
        wait_for_fits=True,
    )
    return msgspec.structs.replace(settings, **security, **topics)


@contextmanager
def _topics(settings: Settings, *, delete: bool = False) -> Iterator[None]:
    """Create the topics, of one partition each, so that articles keep their order."""
    names = settings.topics.all()
    config = librdkafka_config(settings)
    try:
        create_topics(
            settings.kafka_bootstrap,
            dict.fromkeys(names, 1),
            config={name: settings.topics.config(name) for name in names},
            client_config=config,
        )
        yield
    finally:
        if delete:
            _delete(AdminClient(config), settings)


def _delete(admin: AdminClient, settings: Settings) -> None:
    outcomes = {
        **admin.delete_topics(list(settings.topics.all()), operation_timeout=_ADMIN_S),
        **admin.delete_consumer_groups([settings.app_id], request_timeout=_ADMIN_S),
    }
    for name, outcome in outcomes.items():
        try:
            outcome.result(_ADMIN_S)
        except (KafkaException, TimeoutError) as error:
            # What ended the evaluation matters more than what it leaves behind.
            click.echo(f"{name} was left on the broker: {error}", err=True)
