"""`frontpage snapshot`: from the topics of a real broker to a reading set that trains a model."""

import gzip
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from click.testing import CliRunner
from confluent_kafka import Producer

from export.data import load_reader_data
from schemas.errors import ReadingSetError, UnavailableError
from schemas.reading_set import Reader, ReadingSet, split_of
from tests.kafka_broker import BrokerUnavailableError, TestBroker, kafka_broker
from tests.tiny_sets import write_easy_set
from worker.kafka_security import librdkafka_config
from worker.local.topics import create_topics
from worker.local.up import environment
from worker.replay import Replay
from worker.settings import Settings
from worker.snapshot import Report, Wanted, take_snapshot
from worker.snapshot_command import snapshot
from worker.snapshot_reader import TopicReader

Publish = Callable[..., None]
HOUR_MS = 3_600_000
START_MS = 1_790_000_000_000


@pytest.fixture
def settings(kafka: TestBroker) -> Settings:
    return installed(Settings(kafka_bootstrap=kafka.bootstrap_servers))


@pytest.fixture
def publish(settings: Settings) -> Publish:
    return publisher(settings)


def installed(settings: Settings, **changes: str) -> Settings:
    """Give the installation topics nobody else uses."""
    name = uuid4().hex[:8]
    topics = {
        field: f"{field.removeprefix('topic_').replace('_', '-')}-{name}"
        for field in Settings.__struct_fields__
        if field.startswith("topic_")
    }
    settings = msgspec.structs.replace(settings, **{**topics, **changes})
    names = settings.topics.all()
    create_topics(
        settings.kafka_bootstrap,
        dict.fromkeys(names, 2),
        config={topic: settings.topics.config(topic) for topic in names},
        client_config=librdkafka_config(settings),
    )
    return settings


def publisher(settings: Settings) -> Publish:
    """Return how to publish values, JSON or as they are, to a topic."""

    def publish(topic: str, *messages: tuple[str, Any]) -> None:
        producer = Producer({**librdkafka_config(settings), "partitioner": "murmur2_random"})
        for key, value in messages:
            raw = value if isinstance(value, bytes | None) else json.dumps(value).encode()
            producer.produce(topic, raw, key)
        assert producer.flush(30) == 0

    return publish


def click(user_id: str, article_id: str, hour: float, event_id: str | None = None, **more: Any):
    return user_id, {
        "user_id": user_id,
        "article_id": article_id,
        "timestamp": START_MS + int(hour * HOUR_MS),
        "event_id": event_id,
        **more,
    }


def label(user_id: str, **labels: Any) -> tuple[str, dict[str, Any]]:
    return user_id, {"user_id": user_id, **labels}


def article(article_id: str, title: str) -> tuple[str, dict[str, Any]]:
    return article_id, {"article_id": article_id, "title": title}


def clicks_of(out: Path) -> list[tuple[str, str, float]]:
    return [
        (each.user_id, each.article_id, (each.timestamp - START_MS) / HOUR_MS)
        for each in ReadingSet(out).clicks()
        if isinstance(each.timestamp, int)
    ]


def test_it_holds_each_distinct_click_once_in_time_order(
    settings: Settings, publish: Publish, tmp_path: Path
) -> None:
    clicks = [
        click(f"u{number % 7}", "a", (number * 37) % 50, f"e{number}") for number in range(50)
    ]
    publish(settings.topic_clicks, *clicks, *clicks[10:30])
    report = take_snapshot(settings, tmp_path / "set", Wanted(chunk_size=8))
    hours = [hour for _, _, hour in clicks_of(tmp_path / "set")]
    assert hours == sorted(hours)
    assert (len(hours), report.clicks) == (50, 50)
    assert report.left_out == {"repeated clicks": 20}


def test_the_last_version_of_an_article_counts(
    settings: Settings, publish: Publish, tmp_path: Path
) -> None:
    publish(settings.topic_articles, article("a", "old"), article("b", "b"), article("a", "new"))
    # A topic of clicks may carry articles too.
    publish(settings.topic_clicks, article("c", "c"))
    take_snapshot(settings, tmp_path / "set", Wanted())
    titles = {each.article_id: each.title for each in ReadingSet(tmp_path / "set").articles()}
    assert titles == {"a": "new", "b": "b", "c": "c"}


def test_a_withdrawn_article_is_left_out_and_its_clicks_are_not(
    settings: Settings, publish: Publish, tmp_path: Path
) -> None:
    publish(settings.topic_articles, article("a", "a"), article("b", "b"), article("c", "c"))
    publish(settings.topic_articles, ("a", None), ("b", None), article("b", "back"))
    publish(settings.topic_clicks, click("u", "a", 1))
    report = take_snapshot(settings, tmp_path / "set", Wanted())
    titles = {each.article_id: each.title for each in ReadingSet(tmp_path / "set").articles()}
    assert titles == {"b": "back", "c": "c"}
    assert clicks_of(tmp_path / "set") == [("u", "a", 1)]
    assert (report.left_out, report.bad) == ({"withdrawn articles": 1}, {})


def test_an_erased_reader_is_left_out_whole(
    settings: Settings, publish: Publish, tmp_path: Path
) -> None:
    publish(settings.topic_clicks, click("gone", "a", 1), click("here", "a", 2))
    publish(settings.topic_reader_labels, label("gone", age=30), label("here", age=40))
    publish(settings.topic_erasures, ("gone", {"user_id": "gone", "requested_at": START_MS}))
    report = take_snapshot(settings, tmp_path / "set", Wanted())
    assert clicks_of(tmp_path / "set") == [("here", "a", 2)]
    assert [each.user_id for each in ReadingSet(tmp_path / "set").readers()] == ["here"]
    assert report.left_out == {"labels of erased readers": 1, "clicks of erased readers": 1}
    assert all(b"gone" not in unpacked(path) for path in (tmp_path / "set").iterdir())


def test_labels_are_the_last_of_each_reader_and_may_be_withdrawn(
    settings: Settings, publish: Publish, tmp_path: Path
) -> None:
    publish(
        settings.topic_reader_labels,
        label("changed", age=30, gender="female", income_group=3),
        label("withdrawn", age=50),
        label("emptied", gender="male"),
        label("changed", age=31, gender=None, income_group=12),
        ("withdrawn", None),
        label("emptied"),
        ("another", {"user_id": "mismatched", "age": 40}),
        label("ancient", age=400),
    )
    report = take_snapshot(settings, tmp_path / "set", Wanted())
    assert list(ReadingSet(tmp_path / "set").readers()) == [
        Reader(user_id="changed", age=31.0, split=split_of("changed"))
    ]
    assert report.bad == {settings.topic_reader_labels: {"invalid": 2}}
    assert report.left_out == {
        "income groups out of range": 1,
        "readers without a label, or with a withdrawn one": 2,
    }


def test_bad_messages_are_counted_and_stop_nothing(
    settings: Settings, publish: Publish, tmp_path: Path
) -> None:
    publish(
        settings.topic_clicks,
        ("u", b"{"),
        ("u", None),
        ("u", b'{"user_id": 7}'),
        click("u", "a", 10**6),
        click("u", "a", 1),
        click("u", "a", 2, consent=False),
    )
    publish(settings.topic_articles, ("a", b"\xff"))
    report = take_snapshot(settings, tmp_path / "set", Wanted())
    assert clicks_of(tmp_path / "set") == [("u", "a", 1)]
    assert report.bad == {
        settings.topic_clicks: {"malformed": 1, "empty": 1, "invalid": 1, "future": 1},
        settings.topic_articles: {"malformed": 1},
    }
    assert report.left_out == {"clicks without consent": 1}


def test_a_time_window_takes_its_start_and_not_its_end(
    settings: Settings, publish: Publish, tmp_path: Path
) -> None:
    publish(settings.topic_clicks, *(click("u", "a", hour) for hour in (1, 2, 3, 4)))
    window = Wanted(from_ms=START_MS + 2 * HOUR_MS, until_ms=START_MS + 4 * HOUR_MS)
    report = take_snapshot(settings, tmp_path / "set", window)
    assert [hour for _, _, hour in clicks_of(tmp_path / "set")] == [2, 3]
    assert report.left_out == {"clicks outside the time window": 2}


def test_articles_and_clicks_may_share_a_topic(kafka: TestBroker, tmp_path: Path) -> None:
    name = f"events-{uuid4().hex[:8]}"
    settings = installed(
        Settings(kafka_bootstrap=kafka.bootstrap_servers), topic_articles=name, topic_clicks=name
    )
    event = {
        "event": "interaction",
        "id": "e",
        "item": "a",
        "timestamp": str(START_MS),
        "user": "u",
    }
    publisher(settings)(name, article("a", "t"), ("u", event), ("x", {"event": "user"}))
    report = take_snapshot(settings, tmp_path / "set", Wanted())
    assert (report.articles, report.clicks, report.left_out) == (1, 1, {"other events": 1})


def test_a_replayed_set_comes_back_and_trains_a_model(settings: Settings, tmp_path: Path) -> None:
    """By the console script, twice: the same topics give the same bytes."""
    dataset = write_easy_set(tmp_path / "easy")
    replay = Replay(librdkafka_config(settings), settings.topics)
    replay.articles(ReadingSet(dataset))
    replay.clicks(ReadingSet(dataset))
    groups = ["--income-groups", "low, high"]
    arguments = ["--labels", str(dataset / "users.jsonl.gz"), *groups, "--json"]
    contents = []
    for _ in range(2):
        result = CliRunner(env=environment(settings)).invoke(
            snapshot, [str(tmp_path / "set"), *arguments]
        )
        assert result.exit_code == 0, result.output
        contents.append({path.name: path.read_bytes() for path in (tmp_path / "set").iterdir()})
    assert contents[0] == contents[1]
    report = msgspec.json.decode(result.stdout, type=Report)
    before, after = (
        load_reader_data(ReadingSet(dataset)),
        load_reader_data(ReadingSet(tmp_path / "set")),
    )
    assert (report.articles, report.clicks) == (60, len(before.clicks))
    assert sum(report.readers.values()) == len(before.user_ids)
    assert sorted(after.user_ids) == sorted(before.user_ids)
    assert sorted(after.hours) == sorted(before.hours)
    assert after.income_groups == ["low", "high"]

    from export.bundle_writer import train_bundle
    from export.options import TrainingOptions

    options = TrainingOptions(epochs=1, article_tokens=16, max_clicks=4)
    train_bundle(tmp_path / "set", tmp_path / "bundle", options)


def test_what_stands_at_out_is_replaced_only_by_a_whole_set(
    settings: Settings, publish: Publish, tmp_path: Path
) -> None:
    publish(settings.topic_clicks, click("u", "a", 1))
    take_snapshot(settings, tmp_path / "set", Wanted())
    labels = tmp_path / "labels.jsonl"
    labels.write_text('{"user_id":"u","age":40}\n{"user_id":"v","age":"old"}\n')
    with pytest.raises(ReadingSetError, match=r"labels.jsonl:2: .*age"):
        take_snapshot(settings, tmp_path / "set", Wanted(labels_file=labels))
    assert clicks_of(tmp_path / "set") == [("u", "a", 1)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.jsonl", "set"]
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to-grandmother").touch()
    for other in (tmp_path / "letters", labels):
        with pytest.raises(ReadingSetError, match="not a reading set"):
            take_snapshot(settings, other, Wanted())
    assert (tmp_path / "letters" / "to-grandmother").exists()


def test_a_stream_that_goes_on_does_not_keep_it_from_ending(
    settings: Settings, publish: Publish
) -> None:
    publish(settings.topic_clicks, *(click("u", "a", hour) for hour in range(100)))
    reader = TopicReader(settings)
    num_read = 0
    for _ in reader.read(settings.topic_clicks, [0, 1]):
        num_read += 1
        publish(settings.topic_clicks, click("u", "a", 200 + num_read))
    reader.close()
    assert num_read == 100


def test_it_joins_no_group_and_commits_nothing(
    settings: Settings, publish: Publish, tmp_path: Path
) -> None:
    from confluent_kafka.admin import AdminClient

    publish(settings.topic_clicks, click("u", "a", 1))
    take_snapshot(settings, tmp_path / "set", Wanted())
    groups = AdminClient(librdkafka_config(settings)).list_consumer_groups().result(30).valid
    assert f"{settings.app_id}-snapshot" not in {group.group_id for group in groups}


def test_what_is_missing_is_named(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no such topic: nowhere"):
        take_snapshot(
            msgspec.structs.replace(settings, topic_reader_labels="nowhere"),
            tmp_path / "set",
            Wanted(),
        )
    with pytest.raises(UnavailableError, match="FRONTPAGE_KAFKA_BOOTSTRAP"):
        TopicReader(Settings(kafka_bootstrap="127.0.0.1:1"), silence_s=1.0).find(["clicks"])
    assert list(tmp_path.iterdir()) == []


def test_ended_by_sigterm_it_leaves_nothing_of_its_readers(
    settings: Settings, publish: Publish, tmp_path: Path
) -> None:
    publish(settings.topic_clicks, *(click("u", "a", hour) for hour in range(10)))
    code = (
        "import worker.snapshot as it, time, worker.cli\n"
        "it.split_of = lambda user: time.sleep(60)\n"  # stops amid the writing
        "worker.cli.main()\n"
    )
    labels = tmp_path / "labels.jsonl"
    labels.write_text('{"user_id":"u","age":40}\n')
    arguments = ["snapshot", str(tmp_path / "out" / "set"), "--labels", str(labels)]
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment(settings))
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out").glob(".set-*")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 128 + signal.SIGTERM
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--from", "yesterday"],
        ["--from", "2026-11-01"],
        ["--from", "5", "--until", "5"],
        ["--income-groups", "1"],
        ["--income-groups", "low,,high"],
        ["--income-groups", "low,low"],
    ],
)
def test_wrong_options_are_wrong_usage(arguments: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(snapshot, [str(tmp_path / "set"), *arguments])
    assert result.exit_code == 2


def test_it_reads_over_tls_with_a_password(tmp_path: Path) -> None:
    try:
        with kafka_broker(tmp_path / "kafka", security="sasl_ssl") as kafka:
            settings = installed(
                Settings(
                    kafka_bootstrap=kafka.bootstrap_servers,
                    kafka_security_protocol="SASL_SSL",
                    kafka_sasl_mechanism=kafka.facts["mechanism"],  # type: ignore[arg-type]
                    kafka_username=kafka.facts["username"],
                    kafka_password=kafka.facts["password"],
                    kafka_ca_file=Path(kafka.facts["ca_file"]),
                )
            )
            publisher(settings)(settings.topic_clicks, click("u", "a", 1))
            assert take_snapshot(settings, tmp_path / "set", Wanted()).clicks == 1
    except BrokerUnavailableError as error:
        pytest.skip(str(error))


def unpacked(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
