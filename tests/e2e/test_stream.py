"""From a click to a front page, on a real broker and a real Redis."""

import json
import random
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from os import kill
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Message

from schemas import keys
from schemas.bundle import load_manifest
from schemas.history import num_clicks
from schemas.reading_set import ReadingSet
from schemas.records import DeadLetter, Profile, Recommendation
from tests.e2e.installation import Installation, installation, wait_until
from tests.expected import histories
from tests.kafka_broker import TestBroker

HISTORY_SIZE = 1024


@pytest.fixture
def site(kafka: TestBroker, bundle: Path, tmp_path: Path) -> Iterator[Installation]:
    with installation(kafka.bootstrap_servers, bundle, tmp_path) as found:
        yield found


def comparable(profiles: dict[str, Profile]) -> dict[str, bytes]:
    """Return profiles without the one field that tells when they were written."""
    return {
        user: msgspec.json.encode({**msgspec.to_builtins(profile), "updated_at": None})
        for user, profile in profiles.items()
    }


def test_every_click_is_in_a_history_and_every_reader_has_a_page(
    site: Installation, newsroom: Path, bundle: Path
) -> None:
    reading_set = ReadingSet(newsroom)
    site.start_worker()
    run = site.replay()
    run.articles(reading_set)
    run.clicks(reading_set)
    site.wait_until_stored()

    expected = histories(reading_set.clicks(), HISTORY_SIZE)
    assert site.histories() == expected
    profiles, pages = site.profiles(), site.recommendations()
    assert set(profiles) == set(pages) == set(expected)
    window = load_manifest(bundle).max_clicks
    for profile in profiles.values():
        assert profile.num_known == min(profile.num_clicks, window)
    clicked = defaultdict(set)
    for click in reading_set.clicks():
        clicked[click.user_id].add(click.article_id)
    for user_id, page in pages.items():
        shown = [item.article_id for item in page.items]
        assert len(shown) == len(set(shown)) == 10
        assert not clicked[user_id].intersection(shown)
        for item in page.items:
            assert item.tags
            total = sum(reason.weight for reason in item.reasons)
            assert item.score == pytest.approx(total, abs=0.001)

    # What Redis holds has been emitted, keyed by reader; earlier pages may stand before it.
    wanted = {(user_id, page.recommendation_id) for user_id, page in pages.items()}

    def emitted(messages: list[Message]) -> set[tuple[str, str]]:
        found = set()
        for message in messages:
            page = msgspec.json.decode(message.value() or b"", type=Recommendation)
            assert (message.key() or b"").decode() == page.user_id
            found.add((page.user_id, page.recommendation_id))
        return found

    site.read_topic(
        site.settings.topic_recommendations, lambda messages: wanted <= emitted(messages)
    )
    assert all(0 < ttl <= 90 * 86_400 for ttl in map(site.redis.ttl, site.redis.scan_iter()))


def test_order_repetition_and_number_of_workers_change_nothing(
    site: Installation, kafka: TestBroker, bundle: Path, newsroom: Path, tmp_path: Path
) -> None:
    reading_set = ReadingSet(newsroom)
    site.start_worker()
    run = site.replay()
    run.articles(reading_set)
    run.clicks(reading_set)
    site.wait_until_stored()
    once = site.histories(), comparable(site.profiles())
    run.articles(reading_set)
    run.clicks(reading_set, shuffle=random.Random(1))
    site.wait_until_stored()
    assert (site.histories(), comparable(site.profiles())) == once

    for seed in (2, 3):
        directory = tmp_path / str(seed)
        with installation(kafka.bootstrap_servers, bundle, directory) as other:
            for _ in range(3):
                other.start_worker()
            shuffled = other.replay()
            # Clicks before their articles, too.
            shuffled.clicks(reading_set, shuffle=random.Random(seed))
            shuffled.articles(reading_set, shuffle=random.Random(seed))
            other.wait_until_stored()
            assert other.histories() == once[0]
            assert comparable(other.profiles()) == once[1]
            assert not list(other.redis.scan_iter("waiting:*"))


def test_a_click_counts_once_its_article_arrives(site: Installation) -> None:
    topics = site.settings.topics
    now_ms = int(time.time() * 1000)
    click = {"user_id": "u", "article_id": "late", "timestamp": now_ms, "event_id": "e"}
    site.start_worker()
    site.produce(topics.clicks, (b"u", json.dumps(click).encode()))
    site.wait_until_stored()
    assert site.profiles()["u"].num_known == 0
    assert site.profiles()["u"].tags == {}
    article = {"article_id": "late", "title": "Late", "tags": ["economy"]}
    site.produce(topics.articles, (b"late", json.dumps(article).encode()))
    site.wait_until_stored()
    assert site.profiles()["u"].num_known == 1
    assert site.profiles()["u"].tags == {"economy": 1.0}


def test_bad_messages_are_dead_lettered_and_stop_nothing(site: Installation) -> None:
    topics = site.settings.topics
    now_ms = int(time.time() * 1000)
    good = {"user_id": "u", "article_id": "a", "timestamp": now_ms, "event_id": "e"}
    late = {**good, "timestamp": now_ms + 25 * 3_600_000}
    bad = {
        "malformed": b"{not json",
        "invalid": b'{"user_id": 1}',
        "future": json.dumps(late).encode(),
        "oversized": json.dumps({**good, "x": "y" * 1_100_000}).encode(),
        "empty": None,
    }
    site.start_worker()
    site.produce(topics.clicks, *((b"u", value) for value in bad.values()))
    site.produce(topics.clicks, (b"u", json.dumps(good).encode()))
    site.wait_until_stored()
    assert site.profiles()["u"].num_clicks == 1

    def are_all(messages: list[Message]) -> bool:
        # At least once: a letter may come again.
        return len({dict(each.headers() or [])["reason"] for each in messages}) == len(bad)

    found = {}
    for message in site.read_topic(topics.dead_letters, are_all):
        letter = DeadLetter.from_headers(message.headers() or [])  # type: ignore[arg-type]
        found[letter.reason] = (letter, message)
    assert set(found) == set(bad)
    for reason, (letter, message) in found.items():
        assert letter.topic == topics.clicks
        assert message.key() == b"u"
        whole = bad[reason]
        assert letter.size == len(whole or b"")
        if letter.truncated:
            assert reason == "oversized" and (whole or b"").startswith(message.value() or b"?")
        else:
            assert message.value() == whole
    # All have one key, hence one partition, hence this order.
    offsets = [found[reason][0].offset for reason in bad]
    assert offsets == list(range(len(bad)))


def test_what_is_too_large_to_pass_on_stops_nothing(site: Installation) -> None:
    topics = site.settings.topics
    now_ms = int(time.time() * 1000)
    tags = [f"tag number {number} of far too many" for number in range(14_000)]
    articles = [{"article_id": f"a{i}", "title": "T", "tags": tags} for i in range(3)]
    good = {"user_id": "u", "article_id": "x", "timestamp": now_ms, "event_id": "e"}
    site.start_worker()
    site.produce(topics.articles, *((b"a", json.dumps(each).encode()) for each in articles))
    site.wait_until_stored()
    big_key = b"k" * 1_200_000
    site.produce(topics.clicks, (big_key, b"{bad"), (b"u", json.dumps(good).encode()))
    site.wait_until_stored()
    assert len(site.recommendations()["u"].items) == 3
    (message,) = site.read_topic(topics.dead_letters, bool)
    letter = DeadLetter.from_headers(message.headers() or [])  # type: ignore[arg-type]
    assert letter.truncated and letter.size == len(b"{bad")
    assert message.value() == b"{bad"
    assert big_key.startswith(message.key() or b"?")


def test_metarank_events_on_one_topic_work(site: Installation) -> None:
    item = {
        "event": "item", "id": "x1", "item": "a", "timestamp": "1599391467000",
        "fields": [{"name": "title", "value": "T"}, {"name": "tags", "value": ["economy"]}],
    }  # fmt: skip
    interaction = {
        "event": "interaction", "id": "x2", "item": "a", "timestamp": "1599391468000",
        "user": "u", "session": "s", "type": "click", "fields": [],
    }  # fmt: skip
    ranking = {"event": "ranking", "id": "x3"}
    site.start_worker()
    messages = [(None, json.dumps(event).encode()) for event in (item, interaction, ranking)]
    site.produce(site.settings.topic_clicks, *messages)
    site.wait_until_stored()
    assert site.profiles()["u"].tags == {"economy": 1.0}
    assert site.recommendations()["u"].items == []


def test_sigterm_drains_and_commits_within_ten_seconds(site: Installation, newsroom: Path) -> None:
    reading_set = ReadingSet(newsroom)
    worker = site.start_worker()
    run = site.replay()
    run.articles(reading_set)
    run.clicks(reading_set)
    wait_until("the first profile", lambda: bool(site.redis.keys("profile:*")))
    started = time.monotonic()
    kill(worker.pid, signal.SIGTERM)
    wait_until("the end of the worker", lambda: not worker.is_alive(), 15.0)
    assert time.monotonic() - started < 10.0
    site.start_worker()
    site.wait_until_stored()
    assert site.histories() == histories(reading_set.clicks(), HISTORY_SIZE)


def test_what_is_stored_is_committed_once_nothing_more_comes(site: Installation) -> None:
    site.start_worker(commit_interval_s=60.0)
    for number in range(2):
        click = {"user_id": "u1", "article_id": f"a{number}", "timestamp": 1_700_000_000 + number}
        site.produce(site.settings.topic_clicks, (b"u1", json.dumps(click).encode()))
        site.wait_until_stored(timeout_s=40.0)
    assert num_clicks(site.histories()["u1"]) == 2


def test_a_reader_whose_id_is_odd_is_a_reader(site: Installation) -> None:
    odd = ["{a}", "}{", "a%7Bb", "new\nline", "ü" * 200, "新闻", " "]
    now_ms = int(time.time() * 1000)
    clicks = [{"user_id": user, "article_id": "a", "timestamp": now_ms} for user in odd]
    site.start_worker()
    site.produce(site.settings.topic_clicks, *((None, json.dumps(c).encode()) for c in clicks))
    site.wait_until_stored()
    stored = {site.redis.get(keys.profile(user)) for user in odd}
    found = {msgspec.json.decode(raw or b"", type=Profile).user_id for raw in stored}
    assert found == set(odd)


def test_clicks_may_come_compressed(site: Installation) -> None:
    codecs = ["gzip", "lz4", "snappy", "zstd"]
    now_ms = int(time.time() * 1000)
    site.start_worker()
    for codec in codecs:
        clicks = [
            {"user_id": codec, "article_id": f"a{number}", "timestamp": now_ms + number}
            for number in range(20)  # producers compress what becomes smaller by it
        ]
        messages = [(codec.encode(), json.dumps(click).encode()) for click in clicks]
        site.produce(site.settings.topic_clicks, *messages, compression=codec)
    site.wait_until_stored()
    assert {user: profile.num_clicks for user, profile in site.profiles().items()} == dict.fromkeys(
        codecs, 20
    )


def test_without_consent_nothing_is_kept(site: Installation) -> None:
    now_ms = int(time.time() * 1000)
    click = {"user_id": "u", "article_id": "a", "timestamp": now_ms, "consent": False}
    site.start_worker()
    site.produce(site.settings.topic_clicks, (b"u", json.dumps(click).encode()))
    site.wait_until_stored()
    assert site.profiles() == {}
