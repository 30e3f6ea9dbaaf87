"""How long a click takes at a steady rate: to a profile readable in Redis, to a page in Kafka.

Readers click in turn, so that whatever comes of a reader is the answer to the click before it.
Redis tells of a profile when it is set (keyspace notifications); the page is timed when a consumer
has it.
"""

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import numpy as np
import redis
from confluent_kafka import Consumer, Producer, TopicPartition

from schemas.errors import UnavailableError
from schemas.records import Click
from tests.benchmarks.stream.contestants import Contestant
from tests.benchmarks.stream.figures import percentile
from tests.benchmarks.stream.ground import PARTITIONS, Ground, Site
from tests.benchmarks.stream.throughput import READY_S, check, wait_for_catalogue
from tests.benchmarks.stream.watch import cpu_s
from tests.benchmarks.stream.workload import Workload, message
from worker.local.server import RunningServer

WARM_UP_S = 30.0
"""At the rate. A broker that has just been started compiles itself meanwhile, on the cores of the
worker: within ten seconds of its start 99 % of clicks take three times as long as after thirty."""
LAST_ANSWERS_S = 30.0
QUIET_S = 5.0
"""Without an answer for so long, no more will come; a fit of the item model takes a second."""

_PROFILES = "__keyspace@0__:profile:"
_SWITCH_S = 0.0005
_NAP_S = 0.0005


@dataclass(frozen=True)
class Latency:
    """Milliseconds from a click to what comes of it; infinite for clicks that nothing came of."""

    contestant: str
    rate: float
    """Clicks a second that were sent; less than was asked for if the machine could not."""
    num_clicks: int
    num_unanswered: int
    """Before the reader's next click, or at all."""
    redis_p50_ms: float
    redis_p99_ms: float
    recommendation_p50_ms: float
    recommendation_p99_ms: float
    us_per_click: float
    """CPU of the worker at this rate."""


@dataclass
class _Answers:
    sent: dict[str, float] = field(default_factory=dict)
    """When the reader's latest click was sent."""
    redis_ms: list[float] = field(default_factory=list)
    recommendation_ms: list[float] = field(default_factory=list)


def latency(
    ground: Ground,
    contestant: Contestant,
    workload: Workload,
    catalogue: Path,
    bundle: Path,
    *,
    rate: float,
    seconds: float,
) -> Latency:
    """Send clicks at a rate, after a warm-up, and time what comes of each."""
    topic = f"paced-{uuid4().hex[:8]}"
    ground.create([topic])
    with ground.site(topic, catalogue, bundle) as site:
        site.redis.config_set("notify-keyspace-events", "K$")
        worker = site.start("worker", contestant.arguments)
        try:
            wait_for_catalogue(worker)
            answers = _Answers()
            with _listening(ground, site, answers):
                clicks = _clicks_in_turn(workload)
                _wait_for_first_answer(ground, topic, clicks, answers, worker)
                _wait(answers, _send(ground, topic, clicks, answers, rate, WARM_UP_S))
                answers.sent.clear()
                answers.redis_ms.clear()
                answers.recommendation_ms.clear()
                before, began = cpu_s(worker.pid), time.monotonic()
                num_sent = _send(ground, topic, clicks, answers, rate, seconds)
                taken = time.monotonic() - began
                _wait(answers, num_sent)
                used = cpu_s(worker.pid) - before
            check(worker)
        finally:
            worker.stop()
    if not answers.redis_ms or not answers.recommendation_ms:
        raise UnavailableError("no click was answered")
    to_redis = padded(answers.redis_ms, num_sent)
    to_page = padded(answers.recommendation_ms, num_sent)
    return Latency(
        contestant.name,
        num_sent / taken,
        num_sent,
        max(values.count(math.inf) for values in (to_redis, to_page)),
        percentile(to_redis, 50),
        percentile(to_redis, 99),
        percentile(to_page, 50),
        percentile(to_page, 99),
        used / num_sent * 1e6,
    )


def padded(answers_ms: list[float], num_sent: int) -> list[float]:
    """Return one value for each click, infinite for those without an answer.

    Without these a worker that cannot keep up would be judged by the clicks that it answers soon.

    >>> padded([3.0, 4.0], 3)
    [3.0, 4.0, inf]
    """
    return answers_ms + [math.inf] * (num_sent - len(answers_ms))


def _clicks_in_turn(workload: Workload) -> Iterator[Click]:
    """Yield clicks of now, every reader once in a random order, then in another, for ever."""
    random = np.random.default_rng(0)
    articles = [click.article_id for click in workload.clicks]
    readers = sorted({click.user_id for click in workload.clicks})
    number = 0
    while True:
        for reader in random.permutation(len(readers)).tolist():
            yield Click(
                user_id=readers[reader],
                article_id=articles[number % len(articles)],
                timestamp=cast("Any", time.time_ns() // 1_000_000),
                event_id=f"p{number}",
            )
            number += 1


def _send(
    ground: Ground,
    topic: str,
    clicks: Iterator[Click],
    answers: _Answers,
    rate: float,
    seconds: float,
) -> int:
    config = {**ground.client_config, "linger.ms": 5, "partitioner": "murmur2_random"}
    producer = Producer(config)
    producer.list_topics(topic, timeout=10)
    began, num_sent = time.monotonic(), 0
    while (now := time.monotonic()) - began < seconds:
        while num_sent < (now - began) * rate:
            click = next(clicks)
            value = message(click)
            answers.sent[click.user_id] = time.monotonic()
            producer.produce(topic, value, click.user_id)
            num_sent += 1
        producer.poll(0)
        time.sleep(_NAP_S)
    producer.flush(30)
    return num_sent


def _wait_for_first_answer(
    ground: Ground,
    topic: str,
    clicks: Iterator[Click],
    answers: _Answers,
    worker: RunningServer,
) -> None:
    deadline = time.monotonic() + READY_S
    _send(ground, topic, clicks, answers, 20.0, 0.1)
    while not (answers.redis_ms and answers.recommendation_ms):
        check(worker)
        if time.monotonic() > deadline:
            raise UnavailableError(f"no click answered after {READY_S:.0f} s")
        time.sleep(0.02)


def _wait(answers: _Answers, num_sent: int) -> None:
    """Give the last answers time; who has none by then is unanswered."""
    deadline = time.monotonic() + LAST_ANSWERS_S
    before, changed = -1, time.monotonic()
    while (now := time.monotonic()) < deadline and now - changed < QUIET_S:
        heard = len(answers.redis_ms) + len(answers.recommendation_ms)
        if heard != before:
            before, changed = heard, now
        elif min(len(answers.redis_ms), len(answers.recommendation_ms)) >= num_sent:
            return
        time.sleep(0.1)


@contextmanager
def _listening(ground: Ground, site: Site, answers: _Answers) -> Iterator[None]:
    """Time answers in threads of their own."""
    stop = threading.Event()
    threads = [
        threading.Thread(target=listen, args=(ground, site, answers, stop), daemon=True)
        for listen in (_hear_redis, _hear_kafka)
    ]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)  # the default, 5 ms, would be part of what is measured
    try:
        for thread in threads:
            thread.start()
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(10)
        sys.setswitchinterval(interval)


def _hear_redis(_: Ground, site: Site, answers: _Answers, stop: threading.Event) -> None:
    client: Any = redis.Redis.from_url(site.settings.redis_url)
    listener = client.pubsub(ignore_subscribe_messages=True)
    listener.psubscribe(f"{_PROFILES}*")
    note = _noting(answers.sent, answers.redis_ms)
    while not stop.is_set():
        heard = listener.get_message(timeout=0.1)
        if heard is not None:
            note(heard["channel"].decode()[len(_PROFILES) + 1 : -1])
    listener.close()
    client.close()


def _hear_kafka(ground: Ground, site: Site, answers: _Answers, stop: threading.Event) -> None:
    settings = site.settings
    consumer = Consumer(
        {
            **ground.client_config,
            "group.id": f"{settings.app_id}-listener",
            "fetch.wait.max.ms": round(settings.fetch_wait_s * 1000),
        }
    )
    topic = settings.topic_recommendations
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    note = _noting(answers.sent, answers.recommendation_ms)
    while not stop.is_set():
        heard = consumer.poll(0.1)
        if heard is not None and not heard.error():
            note((heard.key() or b"").decode())
    consumer.close()


def _noting(sent: dict[str, float], into: list[float]) -> Callable[[str], None]:
    """Return what notes how long ago a reader clicked, once a click."""
    answered: dict[str, float] = {}

    def note(user_id: str) -> None:
        at = sent.get(user_id)
        if at is not None and answered.get(user_id) != at:
            answered[user_id] = at
            into.append((time.monotonic() - at) * 1000)

    return note
