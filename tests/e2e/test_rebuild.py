"""A Redis that came back empty is built anew from the topics, to the last byte."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Message

from schemas import keys
from schemas.reading_set import ReadingSet
from schemas.records import Profile
from schemas.timestamps import from_ms
from tests.e2e.installation import Installation, installation
from tests.e2e.test_erasures import click, frontpage, is_anywhere, last_of, now_ms, send
from tests.kafka_broker import TestBroker

GONE, BACK, SHY = "gone-for-good", "back-again", "objects-to-profiling"


@pytest.fixture
def site(kafka: TestBroker, bundle: Path, tmp_path: Path) -> Iterator[Installation]:
    with installation(kafka.bootstrap_servers, bundle, tmp_path) as found:
        yield found


def state(site: Installation) -> tuple[Any, ...]:
    """Return what must be the same: all but when profiles and pages were made, and the pages."""
    moment = from_ms(0)
    profiles: dict[str, Profile] = {
        user: msgspec.structs.replace(profile, updated_at=moment)
        for user, profile in site.profiles().items()
    }
    wishes = {name: site.redis.get(name) for name in site.redis.scan_iter("preferences:*")}
    showings = {name: site.redis.get(name) for name in site.redis.scan_iter("showings:*")}
    pages = set(site.recommendations())
    articles = {*site.redis.zrange(keys.CATALOGUE_INDEX, 0, -1)}
    return site.histories(), profiles, wishes, showings, pages, articles


def num_profiles_sent(site: Installation, user_id: str) -> int:
    """Return how many profiles of a reader are on their topic; a tombstone ends them."""
    end, ends = f"end-{time.time_ns()}", dict(site.ends)
    topic = site.settings.topic_profiles
    site.produce(topic, *((f"{end}-{i}".encode(), b"{}") for i in range(64)))
    site.ends = ends

    def is_enough(found: list[Message]) -> bool:
        return sum((each.key() or b"").startswith(end.encode()) for each in found) == 64

    found = site.read_topic(topic, is_enough)
    return sum(each.key() == user_id.encode() and each.value() is not None for each in found)


def fill(site: Installation, reading_set: ReadingSet) -> None:
    """Have something of every kind: also readers erased, come back, and not to be profiled."""
    topics = site.settings.topics
    run = site.replay()
    run.articles(reading_set)
    ids = [article.article_id for article in reading_set.articles()][:8]
    old = [click(user_id, each, now_ms() - 9_000) for user_id in (GONE, BACK) for each in ids]
    send(site, topics.clicks, *old)
    send(site, topics.preferences, {"user_id": BACK, "timestamp": 5, "blocked_tags": ["of before"]})
    site.wait_until_stored()
    for user_id in (GONE, BACK):
        send(site, topics.erasures, {"user_id": user_id, "requested_at": now_ms()})
    site.wait_until_stored()
    send(site, topics.clicks, *(click(BACK, each, now_ms()) for each in ids[:3]))
    wish = {"user_id": BACK, "timestamp": now_ms(), "blocked_tags": ["since then"]}
    objection = {"user_id": SHY, "timestamp": now_ms(), "profiling": False}
    send(site, topics.preferences, wish, objection)
    site.wait_until_stored()
    send(site, topics.clicks, *(click(SHY, each, now_ms()) for each in ids))
    shown = {"user_id": BACK, "timestamp": now_ms(), "candidates": ids, "clicked": ids[:1]}
    send(site, topics.impressions, shown)
    run.clicks(reading_set)
    site.wait_until_stored()


def work(site: Installation) -> str:
    """Let a worker do what there is; return its log."""
    worker = site.start_worker()
    site.wait_until_stored()
    worker.stop()
    return worker.log_path.read_text()


def test_redis_is_rebuilt_from_the_topics(
    site: Installation, kafka: TestBroker, newsroom: Path, tmp_path: Path
) -> None:
    topics = site.settings.topics
    worker = site.start_worker()
    fill(site, ReadingSet(newsroom))
    refused = frontpage(site, "rebuild")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "1 workers run; stop them first" in refused.stderr
    before, num_sent = state(site), num_profiles_sent(site, GONE)
    assert num_sent > 0 and last_of(site, topics.profiles, GONE) == [None]

    # The worker goes on with an empty Redis: it says so, and does not crash.
    site.redis.flushall()
    send(site, topics.clicks, click("newcomer", "unknown", now_ms()))
    site.wait_until_stored()
    assert worker.is_alive() and {*site.histories()} == {"newcomer"}
    worker.stop()
    assert worker.log_path.read_text().count("run `frontpage rebuild`") == 1
    site.redis.flushall()

    done = frontpage(site, "rebuild", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report["messages"][topics.clicks] == sum(
        end for (topic, _), end in site.ends.items() if topic == topics.clicks
    )
    # Whoever was erased is so before the first click, and what was wished since then is there.
    assert (report["erasures"], report["preferences"]) == (2, 2)
    assert not is_anywhere(site, "of before") and is_anywhere(site, "since then")
    log = work(site)
    assert "rebuild" not in log and "Traceback" not in log
    site.redis.delete(*keys.of_reader("newcomer"))
    assert state(site) == before
    assert GONE not in site.histories() and len(before[0]) > 250
    assert not is_anywhere(site, GONE)
    # Not for a moment: nothing was inferred and sent of the erased reader meanwhile.
    assert num_profiles_sent(site, GONE) == num_sent
    assert not any(last_of(site, topics.profiles, SHY))

    # A Redis that lost its latest writes and holds the others: only what is lost is read again,
    # and nothing is counted twice.
    since = now_ms()
    send(site, topics.clicks, *(click(f"new-{i}", "unknown", now_ms()) for i in range(4)))
    work(site)
    site.redis.delete(keys.history("new-0"))
    lost = state(site)
    last = site.redis.xinfo_stream(keys.CLICK_LOG)["length"]
    again = frontpage(site, "rebuild", "--since", str(since))
    assert again.returncode == 0 and ", which stay" in again.stdout
    if not kafka.kind.startswith("embedded"):  # which finds no offset by time, and reads all
        assert f"{topics.clicks}: 4 messages" in again.stdout
    work(site)
    found = state(site)
    assert {*found[0]} - {*lost[0]} == {"new-0"}
    assert {user: found[0][user] for user in lost[0]} == lost[0] and found[1:] == lost[1:]
    assert site.redis.xinfo_stream(keys.CLICK_LOG)["length"] == last + 1  # that one's
    logs = b"".join(path.read_bytes() for path in tmp_path.glob("worker-*.log"))
    assert GONE.encode() not in logs
