"""Forgetting a reader, with a real broker, Redis and workers: gone, and never back."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Message

from schemas.history import read_entries, unpack
from tests.e2e.installation import Installation, installation, wait_until
from tests.e2e.test_visits import HOUR_MS, NOW_MS, publish
from tests.kafka_broker import TestBroker
from worker.local.up import environment

ALICE, BOB = "alice {漢}", "bob"


@pytest.fixture
def site(kafka: TestBroker, bundle: Path, tmp_path: Path) -> Iterator[Installation]:
    with installation(kafka.bootstrap_servers, bundle, tmp_path) as found:
        yield found


def frontpage(site: Installation, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "worker.cli", *arguments],
        env={**os.environ, **environment(site.settings)},
        capture_output=True,
        text=True,
        timeout=90,
    )


def send(site: Installation, topic: str, *records: dict[str, Any]) -> None:
    site.produce(
        topic, *((each["user_id"].encode(), json.dumps(each).encode()) for each in records)
    )


def click(user_id: str, article_id: str, time_ms: int) -> dict[str, Any]:
    return {"user_id": user_id, "article_id": article_id, "timestamp": time_ms}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def everything(site: Installation) -> bytes:
    """Return every key and value that Redis holds."""
    parts: list[bytes] = []
    for name in site.redis.scan_iter(count=1000):
        parts.append(name)
        kind = site.redis.type(name)
        if kind == b"string":
            parts.append(site.redis.get(name))
        elif kind == b"set":
            parts += site.redis.smembers(name)
        elif kind == b"zset":
            parts += site.redis.zrange(name, 0, -1)
        elif kind == b"hash":
            parts += (each for pair in site.redis.hgetall(name).items() for each in pair)
        else:
            parts += (value for _, each in site.redis.xrange(name) for value in each.values())
    return b"\n".join(parts)


def is_anywhere(site: Installation, word: str) -> bool:
    return word.encode() in everything(site)


def last_of(site: Installation, topic: str, user_id: str) -> list[bytes | None]:
    """Return the last value of a reader on each partition that has any; nothing is being sent."""
    end, ends = f"end-{time.time_ns()}", dict(site.ends)
    # One on each partition, to know where they end: the embedded broker does not tell.
    site.produce(topic, *((f"{end}-{i}".encode(), b"{}") for i in range(64)))
    site.ends = ends  # which no worker is to reach

    def is_enough(found: list[Message]) -> bool:
        return sum((each.key() or b"").startswith(end.encode()) for each in found) == 64

    found = site.read_topic(topic, is_enough)
    last = {each.partition(): each.value() for each in found if each.key() == user_id.encode()}
    return [*last.values()]


def replay_everything(site: Installation, name: str) -> None:
    """Read all topics again from the beginning, in a group of its own."""
    site.settings = msgspec.structs.replace(site.settings, app_id=name)
    worker = site.start_worker()
    site.wait_until_stored()
    worker.stop()


def fill(site: Installation) -> None:
    """Have something of every kind of both readers."""
    settings = site.settings
    for user_id in (ALICE, BOB):
        wish = {"user_id": user_id, "timestamp": NOW_MS, "blocked_tags": ["t1"]}
        send(site, settings.topic_preferences, wish)
        shown = {"user_id": user_id, "timestamp": NOW_MS, "candidates": ["a4"], "clicked": []}
        send(site, settings.topic_impressions, shown)
        # The last one is dated ahead: it was made before the erasure all the same.
        times = [NOW_MS - HOUR_MS, NOW_MS - 9, NOW_MS + HOUR_MS]
        clicks = [click(user_id, f"a{i}", time_ms) for i, time_ms in enumerate(times)]
        send(site, settings.topic_clicks, *clicks, click(user_id, "unknown", NOW_MS - 5))
        refused = {**click(user_id, "a6", NOW_MS - 1), "consent": False}
        send(site, settings.topic_clicks, refused)
        send(site, settings.topic_impressions, {**shown, "timestamp": 1, "consent": False})
        send(site, settings.topic_visits, {"user_id": user_id, "timestamp": NOW_MS})
        send(site, settings.topic_reader_labels, {"user_id": user_id, "age": 40})


def test_forget_removes_everything_and_no_replay_brings_it_back(
    site: Installation, tmp_path: Path
) -> None:
    settings = site.settings
    worker = site.start_worker()
    publish(site)
    site.wait_until_stored()
    fill(site)
    # No worker reads labels.
    site.ends = {k: v for k, v in site.ends.items() if k[0] != settings.topic_reader_labels}
    site.wait_until_stored()
    exported = json.loads(frontpage(site, "export-reader", ALICE).stdout)
    assert [each["article_id"] for each in exported["clicks"]] == ["a2", None, "a1", "a0"]
    assert len(exported["showings"]) == len(exported["waits_for"]) == 1
    assert exported["preferences"]["blocked_tags"] == ["t1"]
    assert exported["profile"]["num_clicks"] == 4 and exported["recommendation"]["items"]
    assert exported["erased_at"] is None
    assert is_anywhere(site, "alice")

    done = frontpage(site, "forget", ALICE)
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing" in done.stdout and "alice" not in done.stdout
    assert not is_anywhere(site, "alice")
    assert is_anywhere(site, BOB)
    topics = (
        settings.topic_profiles,
        settings.topic_recommendations,
        settings.topic_preferences,
        settings.topic_reader_labels,
    )
    assert [set(last_of(site, topic, ALICE)) for topic in topics] == [{None}] * 4
    assert all(any(last_of(site, topic, BOB)) for topic in topics)
    worker.stop()

    replay_everything(site, f"{settings.app_id}-again")
    assert not is_anywhere(site, "alice") and is_anywhere(site, BOB)
    site.redis.flushall()
    replay_everything(site, f"{settings.app_id}-emptied")
    assert not is_anywhere(site, "alice")
    assert {*site.histories()} == {BOB}
    for topic in topics[:2]:
        assert last_of(site, topic, ALICE) == [None] and any(last_of(site, topic, BOB))
    exported = json.loads(frontpage(site, "export-reader", ALICE).stdout)
    assert exported["erased_at"] and not exported["clicks"]

    # Whoever comes back begins anew.
    site.ends = {}
    site.start_worker()
    send(site, settings.topic_clicks, click(ALICE, "a7", NOW_MS), click(ALICE, "a8", now_ms()))
    site.wait_until_stored()
    assert site.profiles()["alice %7B漢%7D"].num_clicks == 1
    assert any(last_of(site, settings.topic_profiles, ALICE))
    logs = b"".join(path.read_bytes() for path in tmp_path.glob("worker-*.log"))
    assert b"alice" not in logs and b"Traceback" not in logs


def test_erasures_race_with_clicks(site: Installation) -> None:
    """Two workers, clicks of every reader on and on, and erasures among them."""
    settings = site.settings
    for _ in range(2):
        site.start_worker()
    publish(site)
    site.wait_until_stored()
    readers = [f"reader-{number}" for number in range(40)]
    erased: dict[str, int] = {}
    for number in range(60):
        moment = now_ms()
        clicks = [click(each, f"a{number % 30}", moment - at) for at, each in enumerate(readers)]
        send(site, settings.topic_clicks, *clicks)
        for user_id in readers[:20] if number % 15 == 7 else []:
            erased[user_id] = now_ms()
            asked = {"user_id": user_id, "requested_at": erased[user_id]}
            send(site, settings.topic_erasures, asked)
            old = [click(user_id, f"a{i}", erased[user_id] - i) for i in range(3)]
            send(site, settings.topic_clicks, *old)
    forgotten = readers[20:25]
    for user_id in forgotten:
        send(site, settings.topic_erasures, {"user_id": user_id, "requested_at": now_ms()})
    site.wait_until_stored()
    for user_id in forgotten:
        assert not is_anywhere(site, f"{user_id}}}")
        assert last_of(site, settings.topic_profiles, user_id) == [None]
        assert last_of(site, settings.topic_recommendations, user_id) == [None]
    # What overtook the erasure within its minute is erased as well; what comes now is not.
    send(site, settings.topic_clicks, *(click(each, "a29", now_ms()) for each in erased))
    site.wait_until_stored()
    histories = site.histories()
    assert {*histories} == {*readers} - {*forgotten}
    for user_id, moment in erased.items():
        times_ms, _ = read_entries(unpack(histories[user_id]))
        assert times_ms.min() > moment
        assert any(last_of(site, settings.topic_profiles, user_id))
    assert all(len(read_entries(unpack(histories[each]))[0]) >= 30 for each in readers[25:])


def test_forget_says_that_nobody_does_it(site: Installation) -> None:
    late = frontpage(site, "forget", ALICE, "--timeout", "0.5")
    assert (late.returncode, late.stdout) == (1, "")
    assert "not erased within 0.5 s" in late.stderr and "alice" not in late.stderr
    assert frontpage(site, "forget", ALICE, "--no-wait").returncode == 0
    for bad in ("", "x" * 513):
        refused = frontpage(site, "forget", bad)
        assert refused.returncode == 2 and "xxx" not in refused.stderr


def test_a_reader_who_objects_to_profiling_is_not_profiled(site: Installation) -> None:
    settings = site.settings
    site.start_worker()
    publish(site)
    clicks = [click(user_id, f"a{i}", NOW_MS - 100 + i) for user_id in (ALICE, BOB) for i in (1, 2)]
    send(site, settings.topic_clicks, *clicks)
    site.wait_until_stored()
    assert len(site.profiles()) == 2
    objection = {"user_id": ALICE, "timestamp": NOW_MS, "profiling": False}
    send(site, settings.topic_preferences, objection)
    wait_until("the profile is gone", lambda: {*site.profiles()} == {BOB})
    send(site, settings.topic_clicks, click(ALICE, "a3", NOW_MS + 1), click(BOB, "a3", NOW_MS + 1))
    site.wait_until_stored()
    assert {*site.profiles()} == {BOB}
    assert last_of(site, settings.topic_profiles, ALICE) == [None]
    pages, own = site.recommendations(), "alice %7B漢%7D"
    assert len(pages[own].items) == 10
    reasons = {reason.name for item in pages[own].items for reason in item.reasons}
    assert "readers-like-you" not in reasons
    assert any(name.startswith("tag:") for name in reasons)
    # Lifted: with the next click there is a profile again.
    send(site, settings.topic_preferences, {"user_id": ALICE, "timestamp": NOW_MS + 2})
    site.wait_until_stored()
    send(site, settings.topic_clicks, click(ALICE, "a4", NOW_MS + 3))
    site.wait_until_stored()
    assert site.profiles()[own].num_clicks == 4
