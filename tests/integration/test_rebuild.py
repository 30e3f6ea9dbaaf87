"""Setting a group back, on a real Kafka: what is read again, and what is refused."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas import keys
from schemas.errors import UnavailableError
from tests.kafka_broker import TestBroker
from worker.commands import with_redis
from worker.consumer_group import ConsumerGroup, has_worked_before
from worker.kafka_security import librdkafka_config
from worker.kept import export_reader
from worker.local.redis_server import start_redis
from worker.local.topics import create_topics
from worker.local.up import environment
from worker.rebuild import Plan, plan, sources
from worker.rebuild_command import rebuild
from worker.settings import Settings
from worker.snapshot_reader import Extent, TopicReader


@pytest.fixture
def settings(kafka: TestBroker, tmp_path: Path) -> Iterator[Settings]:
    name = uuid4().hex[:8]
    names = {field: field.removeprefix("topic_") for field in Settings.__struct_fields__}
    topics = {
        field: f"{each}-{name}" for field, each in names.items() if field.startswith("topic_")
    }
    with start_redis(tmp_path) as server:
        found = Settings(
            app_id=f"group-{name}",
            kafka_bootstrap=kafka.bootstrap_servers,
            redis_url=server.url,
            **topics,
        )
        create_topics(kafka.bootstrap_servers, dict.fromkeys(found.topics.all(), 2))
        yield found


def send(settings: Settings, topic: str, *messages: tuple[str, Any]) -> None:
    producer = Producer(librdkafka_config(settings))
    for key, value in messages:
        raw = None if value is None else json.dumps(value).encode()
        producer.produce(topic, raw, key, partition=len(key) % 2)
    assert producer.flush(10) == 0


def click(user_id: str) -> tuple[str, dict[str, Any]]:
    return user_id, {"user_id": user_id, "article_id": "a", "timestamp": 5}


def commit(settings: Settings, topic: str, *offsets: int) -> None:
    """Be where a worker would be that has processed so much."""
    config = {**librdkafka_config(settings), "group.id": settings.app_id}
    with closing(Consumer(config)) as consumer:
        places = [TopicPartition(topic, each, offset) for each, offset in enumerate(offsets)]
        consumer.commit(offsets=places, asynchronous=False)


def committed(settings: Settings, topic: str) -> dict[int, int]:
    found = ConsumerGroup(settings).committed([(topic, 0), (topic, 1)])
    return {partition: offset for (_, partition), offset in found.items()}


def run(settings: Settings, *arguments: str) -> Result:
    return CliRunner().invoke(rebuild, arguments, env=environment(settings))


def test_the_group_is_set_back_to_where_its_topics_begin(settings: Settings) -> None:
    topics = settings.topics
    send(settings, topics.clicks, *map(click, ["u", "v", "w", "xx"]))
    assert not has_worked_before(settings)
    commit(settings, topics.clicks, 1, 3)
    commit(settings, topics.visits, 7, 7)
    commit(settings, topics.erasures, 7, 7)
    assert has_worked_before(settings)
    looked = run(settings, "--dry-run", "--json")
    report = msgspec.json.decode(looked.stdout)
    assert report["messages"][topics.clicks] == 4 and report["dry_run"]
    assert (report["keys_in_redis"], report["cut"]) == (0, {})
    assert committed(settings, topics.clicks) == {0: 1, 1: 3}
    assert run(settings).exit_code == 0
    assert committed(settings, topics.clicks) == {0: 0, 1: 0}
    # Answers that were given are not given again, and erasures are in Redis already.
    for topic in (topics.visits, topics.erasures):
        assert committed(settings, topic) == {0: 7, 1: 7}
    # A partition where nobody has been is read from its beginning as it is.
    assert committed(settings, topics.impressions) == {}
    assert with_redis(settings, lambda client: client.exists(keys.STATISTICS_EPOCH)) == 1


def test_a_group_with_a_member_is_not_moved(settings: Settings) -> None:
    config = {**librdkafka_config(settings), "group.id": settings.app_id}
    group = ConsumerGroup(settings)
    with closing(Consumer({**config, "auto.offset.reset": "earliest"})) as consumer:
        consumer.subscribe([settings.topic_clicks])
        deadline = time.monotonic() + 30
        while not consumer.assignment() and time.monotonic() < deadline:
            consumer.poll(0.1)
        refused = run(settings, "--wait", "0.1")
        assert isinstance(refused.exception, UnavailableError)
        assert "1 workers run; stop them first" in str(refused.exception)
        # Also one that comes in between: the brokers themselves refuse it.
        with pytest.raises(UnavailableError, match="not set back"):
            group.move({(settings.topic_clicks, 0): 0})
    group.wait_until_empty(10)


def test_only_the_latest_clicks_are_read_again(settings: Settings, kafka: TestBroker) -> None:
    if kafka.kind.startswith("embedded"):
        pytest.skip("the embedded broker finds no offset by time: all is read again")
    topics = settings.topics
    for topic in (topics.clicks, topics.articles):
        send(settings, topic, *map(click, ["u", "vv"]))
    time.sleep(0.05)
    since_ms = time.time_ns() // 1_000_000
    send(settings, topics.clicks, *map(click, ["new", "newer", "n"]))
    # Of the second partition the group has not come so far: it must not leave anything out.
    commit(settings, topics.clicks, 1, 3)
    commit(settings, topics.articles, 1, 1)
    places = [(topic, each) for topic in sources(topics) for each in (0, 1)]
    with closing(TopicReader(settings)) as reader:
        found = plan(settings, reader, ConsumerGroup(settings).committed(places), since_ms)
    assert found.offsets == {
        (topics.clicks, 0): 1,
        (topics.clicks, 1): 1,
        (topics.articles, 0): 0,
        (topics.articles, 1): 0,
    }
    assert found.num_messages() == {
        topics.erasures: 0,
        topics.preferences: 0,
        topics.articles: 2,
        topics.clicks: 3,
        topics.impressions: 0,
    }
    with closing(TopicReader(settings)) as reader:
        later = plan(settings, reader, {(topics.clicks, 0): 0}, since_ms + 60_000)
    assert later.num_messages()[topics.clicks] == 1  # not committed, so it is read anyway
    assert later.offsets == {(topics.clicks, 0): 0}


def test_topics_that_do_not_reach_back_are_refused(settings: Settings) -> None:
    topics = settings.topics
    send(settings, topics.clicks, *map(click, ["u", "vv", "www"]))
    commit(settings, topics.clicks, 1, 2)
    admin = AdminClient(librdkafka_config(settings))
    try:
        for each in admin.delete_records([TopicPartition(topics.clicks, 1, 1)]).values():
            each.result(10)
    except KafkaException:
        pytest.skip("the embedded broker deletes nothing")
    refused = run(settings)
    assert isinstance(refused.exception, UnavailableError)
    assert f"{topics.clicks} reaches back to 2" in str(refused.exception)
    assert "--incomplete" in str(refused.exception)
    assert committed(settings, topics.clicks) == {0: 1, 1: 2}
    done = run(settings, "--incomplete")
    assert done.exit_code == 0 and "cannot be rebuilt" in done.stdout
    assert committed(settings, topics.clicks) == {0: 0, 1: 1}


def test_it_says_how_far_topics_reach_back() -> None:
    topics = Settings().topics
    extents = {
        ("clicks", 0): Extent(5, 9, 1_000, True),
        ("clicks", 1): Extent(7, 9, 2_000, True),
        ("clicks", 2): Extent(0, 9, 9_000, False),
        ("impressions", 0): Extent(4, 4, None, True),
    }
    assert Plan(extents, {}, topics).cut() == {"clicks": 2_000, "impressions": None}


def test_erasures_and_wishes_are_in_redis_before_any_worker(settings: Settings) -> None:
    topics = settings.topics
    now_ms = time.time_ns() // 1_000_000

    def wish(user_id: str, time_ms: int, tag: str) -> tuple[str, dict[str, Any]]:
        return user_id, {"user_id": user_id, "timestamp": time_ms, "blocked_tags": [tag]}

    send(settings, topics.preferences, wish("gone", now_ms - 9, "old"), wish("back", 7, "old"))
    for user_id in ("gone", "back"):
        asked = {"user_id": user_id, "requested_at": now_ms - 5}
        send(settings, topics.erasures, (user_id, asked), ("", "rubbish"), (user_id, None))
    send(settings, topics.preferences, ("gone", None), wish("back", now_ms, "new"), ("x", "bad"))
    send(settings, topics.preferences, wish("stays", 9, "later"), wish("stays", 8, "earlier"))
    done = run(settings, "--json")
    assert done.exit_code == 0, done.exception
    report = msgspec.json.decode(done.stdout)
    assert (report["erasures"], report["preferences"]) == (2, 2)

    def held(user_id: str) -> tuple[bool, Any]:
        kept = with_redis(settings, lambda client: export_reader(client, user_id))
        wishes = None if kept.preferences is None else json.loads(bytes(kept.preferences))
        assert kept.recommendation is None
        return kept.erased_at is not None, wishes and wishes["blocked_tags"]

    assert held("gone") == (True, None)
    assert held("back") == (True, ["new"])
    assert held("stays") == (False, ["later"])
    # Again it changes nothing.
    assert run(settings).exit_code == 0
    assert held("back") == (True, ["new"]) and held("stays") == (False, ["later"])
