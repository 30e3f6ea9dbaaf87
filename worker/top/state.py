"""Everything one frame shows, and what of it wants attention."""

from collections.abc import Iterator

import msgspec

from worker.top.figures import Figures, TopicFigures, WorkerFigures
from worker.top.trends import Trends

BEHIND_S = 5.0
"""A topic whose messages take longer than so is behind."""


class RedisFigures(msgspec.Struct, frozen=True):
    """Of Redis, over all nodes of a cluster. problem: why nothing is known; empty if it answers."""

    problem: str = ""
    memory_bytes: int = 0
    commands_per_s: int = 0


class Frame(msgspec.Struct, frozen=True):
    """What is shown at once. clicks_per_s, waiting: of the last minute, oldest first."""

    time_ms: int
    workers: list[WorkerFigures]
    total: Figures
    redis: RedisFigures
    trends: Trends | None
    clicks_per_s: list[float]
    waiting: list[int]
    attention: list[str] = []


def with_attention(frame: Frame) -> Frame:
    """Return a frame that says what wants attention."""
    return msgspec.structs.replace(frame, attention=list(_attention(frame)))


def _attention(frame: Frame) -> Iterator[str]:
    for worker in frame.workers:
        if worker.status != "ready":
            yield f"worker {worker.url.removeprefix('http://')}: {worker.status}"
    if frame.redis.problem:
        yield f"Redis: {frame.redis.problem}"
    total = frame.total
    for dependency, counted in total.errors.items():
        if counted.last_minute:
            name = {"redis": "Redis", "kafka": "Kafka"}.get(dependency, dependency)
            yield f"{name}: {_times(counted.last_minute, 'retry', 'retries')} in the last minute"
    if total.undelivered.last_minute:
        yield f"Kafka: {total.undelivered.last_minute:,} messages not taken in the last minute"
    letters = {
        reason: each.last_minute for reason, each in total.dead_letters.items() if each.last_minute
    }
    if letters:
        num = _times(sum(letters.values()), "dead letter", "dead letters")
        yield f"{num} in the last minute: {', '.join(letters)}"
    if len(total.models) > 1:
        yield f"workers serve {len(total.models)} models: {', '.join(total.models)}"
    if total.bundles_refused.last_minute:
        yield "a new bundle was refused: see the worker's log"
    if total.articles == 0:
        yield "no articles"
    for topic, found in total.topics.items():
        if (text := lateness(found)) is not None:
            yield f"{topic}: {text}"


def lateness(topic: TopicFigures) -> str | None:
    """Say how a topic that is behind gets on; None of one that is not."""
    num, rate, growth = topic.num_waiting, topic.messages_per_s, topic.growth_per_s
    if not num or rate is None or growth is None or num <= rate * BEHIND_S:
        # The embedded broker does not tell how much waits; what is done tells how late it is.
        late = topic.age_s is not None and topic.age_s > BEHIND_S
        return f"done {duration(topic.age_s)} after it came" if late and topic.age_s else None
    if growth < 0:
        return f"{num:,} wait, done in {duration(num / -growth)}"
    if not rate:
        return f"{num:,} wait and none is done"
    return f"{num:,} wait, and {growth:,.0f} more each second"


def duration(seconds: float) -> str:
    """Return a duration in two figures or so.

    >>> [duration(each) for each in (0.0042, 0.42, 4.2, 42, 420, 42_000, 420_000)]
    ['4.2 ms', '420 ms', '4.2 s', '42 s', '7 min', '12 h', '5 d']
    """
    for limit, factor, unit in (
        (0.01, 1000, "ms"),
        (1.0, 1000, "ms"),
        (10.0, 1, "s"),
        (100.0, 1, "s"),
        (6000.0, 1 / 60, "min"),
        (172_800.0, 1 / 3600, "h"),
    ):
        if seconds < limit:
            digits = 1 if limit in (0.01, 10.0) else 0
            return f"{seconds * factor:.{digits}f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def _times(num: int, one: str, many: str) -> str:
    return f"{num:,} {one if num == 1 else many}"
