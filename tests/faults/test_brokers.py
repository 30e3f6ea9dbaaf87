"""Brokers that are down, lose their leader or refuse pages delay clicks and lose none."""

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from schemas.reading_set import ReadingSet
from tests.e2e.installation import Installation, installation, wait_until
from tests.faults.conftest import Pick
from tests.faults.load import Load
from tests.faults.outcome import Undisturbed, check_outcome
from tests.faults.poison import Poison, Poisoner
from tests.faults.work import wait_for_work
from tests.kafka_broker import BrokerUnavailableError, TestBroker, kafka_broker
from worker.local.topics import create_topics

RATE = 300
FEW_MESSAGES = 10_000
"""Bytes: more than a page has, less than what is sent at once."""

SEED = 5


@contextmanager
def killable_brokers(directory: Path, brokers: int) -> Iterator[TestBroker]:
    """Give brokers of this test's own that can be killed; skip where there is no Apache Kafka."""
    try:
        with kafka_broker(directory, brokers=brokers) as kafka:
            if not kafka.can_lose_a_broker:
                pytest.skip("needs a broker that can be killed")
            yield kafka
    except BrokerUnavailableError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


def test_a_broker_that_is_down_for_a_while_delays_clicks_and_loses_none(
    bundle: Path, newsroom: Path, tmp_path: Path, undisturbed: Undisturbed, pick: Pick[float]
) -> None:
    with (
        killable_brokers(tmp_path / "kafka", 1) as kafka,
        installation(kafka.bootstrap_servers, bundle, tmp_path) as site,
    ):
        site.replay().articles(ReadingSet(newsroom))
        worker = site.start_worker()
        with Load(site, undisturbed.article_ids, undisturbed.begin_ms, rate=RATE) as load:
            wait_for_work(site, worker)
            kafka.kill(1)
            time.sleep(pick(3.0, 30.0))
            kafka.restart(1)
            wait_for_work(site, worker)
        check_outcome(site, undisturbed, load.sent())
        assert worker.is_alive() and "Crashed" not in worker.log_path.read_text()

        # And a worker whose broker does not come back still stops.
        kafka.kill(1)
        began = time.monotonic()
        worker.stop(15.0)
        assert time.monotonic() - began < 10.0


def test_a_cluster_that_loses_leaders_and_a_worker_loses_no_click(
    bundle: Path, newsroom: Path, tmp_path: Path, undisturbed: Undisturbed, pick: Pick[int]
) -> None:
    num_losses = pick(1, 6)
    with (
        killable_brokers(tmp_path / "kafka", 3) as kafka,
        installation(kafka.bootstrap_servers, bundle, tmp_path) as site,
    ):
        site.replay().articles(ReadingSet(newsroom))
        dies = site.start_worker(batch_size=20)
        with Load(site, undisturbed.article_ids, undisturbed.begin_ms, rate=RATE) as load:
            wait_for_work(site, dies)
            stays = site.start_worker()
            for number in range(num_losses):
                broker = leader_of_clicks(site)
                kafka.kill(broker)
                if number == 0:
                    os.kill(dies.pid, signal.SIGKILL)
                wait_for_work(site, stays)
                if number < num_losses - 1:  # the last one stays away
                    kafka.restart(broker)
        check_outcome(site, undisturbed, load.sent())
        assert stays.is_alive() and not dies.is_alive()
        assert "Crashed" not in stays.log_path.read_text()


def leader_of_clicks(site: Installation) -> int:
    """Return the broker that leads the first partition of clicks."""
    topic = site.settings.topic_clicks
    known = AdminClient(site.client_config).list_topics(topic, timeout=10).topics[topic]
    return int(known.partitions[0].leader)


def test_pages_whose_topic_is_gone_for_a_while_arrive_when_it_is_back(
    kafka: TestBroker,
    bundle: Path,
    newsroom: Path,
    tmp_path: Path,
    undisturbed: Undisturbed,
    request: pytest.FixtureRequest,
) -> None:
    if "embedded" in kafka.kind:
        pytest.skip("the embedded broker does not delete topics")
    if not request.config.getoption("--long"):
        pytest.skip("a part of the long version: it takes long")
    with installation(kafka.bootstrap_servers, bundle, tmp_path) as site:
        site.replay().articles(ReadingSet(newsroom))
        worker = site.start_worker()
        # Few readers: each of them clicks again afterwards.
        load = Load(site, undisturbed.article_ids, undisturbed.begin_ms, rate=RATE, num_readers=30)
        with load:
            wait_for_work(site, worker)
            delete_topic(site, site.settings.topic_recommendations)
            time.sleep(60.0)
            create_topics(kafka.bootstrap_servers, {site.settings.topic_recommendations: 4})
            wait_for_work(site, worker)
        check_outcome(site, undisturbed, load.sent())
        assert worker.is_alive() and "Crashed" not in worker.log_path.read_text()


def delete_topic(site: Installation, topic: str) -> None:
    """Delete a topic, and wait until it is gone."""
    admin = AdminClient(site.client_config)
    admin.delete_topics([topic])[topic].result(30)
    wait_until("the end of the topic", lambda: topic not in admin.list_topics(timeout=10).topics)


def test_messages_that_together_are_more_than_a_topic_takes_arrive_singly(
    kafka: TestBroker, bundle: Path, newsroom: Path, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    with installation(kafka.bootstrap_servers, bundle, tmp_path) as site:
        topics = site.settings.topics
        try:
            for topic in (topics.recommendations, topics.dead_letters):
                set_topic(site, topic, "max.message.bytes", FEW_MESSAGES)
        except KafkaException as error:
            pytest.skip(f"{kafka.kind}: {error.args[0].str()}")
        site.replay().articles(ReadingSet(newsroom))
        # Before the worker starts, so that it sends many at once.
        with Load(site, undisturbed.article_ids, undisturbed.begin_ms, rate=1000) as load:
            time.sleep(1.0)
        poisoner = Poisoner(site.client_config)
        draw = random.Random(SEED)
        for _ in range(400):  # what cannot be compressed
            rubbish = Poison(b"\xff" + draw.randbytes(300), frozenset({"malformed"}))
            poisoner.poison(topics.clicks, rubbish, None)
        poisoner.flush()
        site.ends.update(poisoner.ends)
        worker = site.start_worker()
        check_outcome(site, undisturbed, load.sent(), bad=poisoner.bad)
        assert worker.is_alive()
        assert "was dropped" not in worker.log_path.read_text()


def set_topic(site: Installation, topic: str, name: str, value: int) -> None:
    """Change a topic's setting."""
    entry = ConfigEntry(name, str(value), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient(site.client_config)
    admin.incremental_alter_configs([resource])[resource].result(10)
