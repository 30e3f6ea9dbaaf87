"""What a worker writes names no reader, quotes no text, and says nothing that was inferred."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from schemas import keys
from tests.e2e.installation import Installation, installation, wait_until
from tests.e2e.test_erasures import now_ms, send
from tests.kafka_broker import TestBroker
from worker.local.redis_server import start_redis

MARK = "zq7xv"
"""Begins every id, tag and text here, and is nowhere else."""

READERS = [f"{MARK}-reader-{number} {{漢}}\n%" for number in range(6)]
GOOD, GONE, SET_ASIDE, SLOW, LATER, CRASHES = READERS

INFERRED = re.compile(
    r"\b(age|years|gender|female|male|income|profiling|probabilit\w+|interests?)\b", re.IGNORECASE
)


@pytest.fixture
def site(kafka: TestBroker, bundle: Path, tmp_path: Path) -> Iterator[Installation]:
    with installation(kafka.bootstrap_servers, bundle, tmp_path) as found:
        yield found


def click(user_id: str, article: int = 1) -> dict[str, Any]:
    ids = {"article_id": f"{MARK}-a{article}", "event_id": f"{MARK}-e", "session_id": f"{MARK}-s"}
    return {"user_id": user_id, **ids, "timestamp": now_ms()}


def article(number: int) -> tuple[bytes, bytes]:
    told = {
        "article_id": f"{MARK}-a{number}",
        "title": f"{MARK} title",
        "body": f"{MARK} body " * 50,
        "tags": [f"{MARK}-tag"],
    }
    return str(told["article_id"]).encode(), json.dumps(told).encode()


def bad(value: bytes) -> tuple[bytes, bytes]:
    return MARK.encode(), value


def everything_that_is_taken(site: Installation) -> None:
    topics = site.settings.topics
    site.produce(topics.articles, *map(article, range(15)), (article(14)[0], None))
    send(site, topics.clicks, *(click(each, at) for each in READERS[:3] for at in range(5)))
    shown = {"user_id": GOOD, "timestamp": now_ms(), "candidates": [f"{MARK}-a1"], "clicked": []}
    send(site, topics.impressions, shown)
    send(site, topics.visits, {"user_id": GOOD, "timestamp": now_ms()})
    wish = {"user_id": GOOD, "timestamp": now_ms(), "blocked_tags": [f"{MARK}-blocked"]}
    send(site, topics.preferences, wish, {**wish, "user_id": SLOW, "profiling": False})
    send(site, topics.erasures, {"user_id": GONE, "requested_at": now_ms()})
    site.wait_until_stored()


def everything_that_is_refused(site: Installation) -> int:
    topics = site.settings.topics
    told = click(GOOD)
    values = [
        MARK.encode(),
        f'{{"user_id":"{MARK}'.encode(),
        b"\xff" + MARK.encode(),
        json.dumps({**told, "user_id": [MARK]}).encode(),
        json.dumps({**told, "user_id": MARK * 200}).encode(),
        json.dumps({**told, "timestamp": MARK}).encode(),
        json.dumps({**told, "timestamp": -1}).encode(),
        json.dumps({**told, "timestamp": now_ms() * 2}).encode(),
        json.dumps({"event": MARK}).encode(),
        b'{"' + MARK.encode() + b'":' + b"[" * 100_000,
        MARK.encode() * 300_000,
        b"",
    ]
    site.produce(topics.clicks, *map(bad, values))
    for topic in (topics.visits, topics.impressions, topics.preferences, topics.erasures):
        site.produce(topic, *map(bad, values[:5]))
    site.wait_until_stored()
    return len(values) + 4 * 5


def wait_for_line(worker: Any, text: str) -> None:
    wait_until(f"a line with {text!r}", lambda: text in worker.log_path.read_text(), 30)


def test_a_worker_writes_nothing_of_readers(site: Installation, tmp_path: Path) -> None:
    topics = site.settings.topics
    worker = site.start_worker(log_features=True, redis_timeout_s=0.3)
    everything_that_is_taken(site)
    num_bad = everything_that_is_refused(site)
    assert len(site.read_topic(topics.dead_letters, lambda got: len(got) >= num_bad)) == num_bad

    # What Redis holds is broken: a history, an entry of the click log.
    site.redis.set(keys.history(SET_ASIDE), b"\x09" + MARK.encode())
    site.redis.xadd(keys.CLICK_LOG, {"clicks": MARK})
    send(site, topics.clicks, click(SET_ASIDE))
    site.wait_until_stored()
    # Slow, full, restarted empty, gone.
    site.redis.execute_command("CLIENT", "PAUSE", "4000", "ALL")
    send(site, topics.clicks, click(SLOW))
    wait_for_line(worker, "TimeoutError; again in")
    site.wait_until_stored()
    site.redis.config_set("maxmemory", "1mb")
    send(site, topics.clicks, click(LATER))
    wait_for_line(worker, "ResponseError; again in")
    site.redis.config_set("maxmemory", "0")
    site.wait_until_stored()
    site.redis.flushall()
    wait_for_line(worker, "run `frontpage rebuild`")
    port = site.redis.connection_pool.connection_kwargs["port"]
    site.redis.shutdown(nosave=True)
    send(site, topics.clicks, click(LATER, 2))
    wait_for_line(worker, "ConnectionError; again in")
    with ExitStack() as stack:
        stack.enter_context(start_redis(tmp_path / "redis-again", port=port))
        site.wait_until_stored()
        # Of another kind than anything the worker writes: a fault that ends it.
        site.redis.delete(keys.history(CRASHES))
        site.redis.lpush(keys.history(CRASHES), MARK)
        send(site, topics.clicks, click(CRASHES))
        wait_until("the worker has given up", lambda: not worker.is_alive(), 30)
        written = worker.log_path.read_text()
        # None of this was for nothing.
        for text in (
            "INFO worker.app catalogue: 0 articles",
            "a history of an unknown format was set aside",
            "an entry of the click log is broken",
            "catalogue not renewed",
            "WorkerFaultError",
            "ResponseError at",
        ):
            assert text in written, text
        assert MARK not in written and MARK.encode().hex() not in written
        assert "漢" not in written and "\\u6f22" not in written
        assert INFERRED.findall(written) == []
