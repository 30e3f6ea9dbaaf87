"""`frontpage snapshot`: from the topics of a real broker to a reading set that trains a model."""

import gzip
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from click.testing import CliRunner

from export.data import load_reader_data
from schemas.reading_set import Reader, ReadingSet, split_of
from tests.integration.published import (
    HOUR_MS,
    START_MS,
    Publish,
    click,
    clicks_of,
    installed,
    publisher,
)
from tests.kafka_broker import TestBroker
from tests.tiny_sets import write_easy_set
from worker.kafka_security import librdkafka_config
from worker.local.up import environment
from worker.replay import Replay
from worker.settings import Settings
from worker.snapshot import Report, Wanted, take_snapshot
from worker.snapshot_command import snapshot


@pytest.fixture
def settings(kafka: TestBroker) -> Settings:
    return installed(Settings(kafka_bootstrap=kafka.bootstrap_servers))


@pytest.fixture
def publish(settings: Settings) -> Publish:
    return publisher(settings)


def label(user_id: str, **labels: Any) -> tuple[str, dict[str, Any]]:
    return user_id, {"user_id": user_id, **labels}


def article(article_id: str, title: str) -> tuple[str, dict[str, Any]]:
    return article_id, {"article_id": article_id, "title": title}


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


def unpacked(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
