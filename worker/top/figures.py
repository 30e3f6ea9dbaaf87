"""What an operator wants to know, from what workers say one time after another. No I/O."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from worker.metrics import STAGES
from worker.top.scrape import Samples, Scrape, Silence

WINDOW_S = 5.0
"""Rates are over so long: of a second alone they jump with each batch."""

MINUTE_S = 60.0


class Counted(msgspec.Struct, frozen=True):
    """What should not happen: how often it did in the last minute, and since workers started."""

    last_minute: int
    total: int


class TopicFigures(msgspec.Struct, frozen=True):
    """Of a topic. A number is None where nothing came, or nothing is known yet.

    messages: done with since the workers started. waiting: by partition, those that are not stored
    yet. growth_per_s: of their sum.
    batch_messages, batches: mean size, and how many a second. age_s: mean, from when Kafka got the
    oldest message of a batch until all that follows was stored and sent.
    """

    messages: int
    messages_per_s: float | None
    waiting: dict[str, int]
    growth_per_s: float | None
    batch_messages: float | None
    batches_per_s: float | None
    age_s: float | None

    @property
    def num_waiting(self) -> int:
        """In all partitions."""
        return sum(self.waiting.values())


class StageFigures(msgspec.Struct, frozen=True):
    """A part of a batch: how long one takes, and which share of a worker's time it is under way."""

    mean_s: float | None
    share: float | None


class Figures(msgspec.Struct, frozen=True):
    """Of a worker, or of all of them together; None where nothing is known yet.

    cpu: in cores. models: those that are served.
    """

    clicks_per_s: float | None
    pages_per_s: float | None
    profiles_per_s: float | None
    skipped_per_s: float | None
    articles: int | None
    models: list[str]
    memory_bytes: int | None
    cpu: float | None
    topics: dict[str, TopicFigures]
    stages: dict[str, StageFigures]
    dead_letters: dict[str, Counted]
    errors: dict[str, Counted]
    """By what had to be tried again: `redis`, `kafka`, `other`."""
    bundles_refused: Counted
    undelivered: Counted

    @property
    def num_waiting(self) -> int:
        """Messages that are not stored yet."""
        return sum(topic.num_waiting for topic in self.topics.values())


class WorkerFigures(msgspec.Struct, frozen=True):
    """A worker: how it is in a word or two, and its figures if it answers."""

    url: str
    status: str
    figures: Figures | None


class History:
    """What the workers said in the last minute."""

    def __init__(self) -> None:
        self._said: dict[str, deque[Scrape]] = {}

    def take(self, answers: Mapping[str, Scrape | Silence]) -> tuple[list[WorkerFigures], Figures]:
        """Add what was said just now; return the figures of each worker, and of all."""
        workers: list[WorkerFigures] = []
        each_now, each_rate, each_minute = [], [], []
        for url, answer in answers.items():
            if isinstance(answer, Silence):
                workers.append(WorkerFigures(url, answer.why, None))
                continue
            said = self._said.setdefault(url, deque())
            said.append(answer)
            while len(said) > 2 and answer.at_s - said[1].at_s >= MINUTE_S:
                said.popleft()
            recent = next((one for one in said if answer.at_s - one.at_s <= WINDOW_S), said[-1])
            if recent is answer and len(said) > 1:  # they are asked less often than that
                recent = said[-2]
            rate = rates(recent, answer)
            minute = increments(said[0].samples, answer.samples)
            workers.append(
                WorkerFigures(url, answer.status, figures(answer.samples, rate, minute, 1))
            )
            each_now.append(answer.samples)
            each_rate.append(rate)
            each_minute.append(minute)
        total = figures(added(each_now), added(each_rate), added(each_minute), len(each_now))
        return workers, _with_articles(total, workers)


def _with_articles(total: Figures, workers: Sequence[WorkerFigures]) -> Figures:
    """All workers have the same articles."""
    known = [each.figures.articles or 0 for each in workers if each.figures is not None]
    return msgspec.structs.replace(total, articles=max(known, default=None))


def increments(before: Samples, now: Samples) -> Samples:
    """Return how far each series has grown; one that fell began anew, as after a restart.

    >>> before = {"a_total": {(): 5.0}, "b_total": {(): 9.0}}
    >>> increments(before, {"a_total": {(): 7.0}, "b_total": {(): 2.0}, "c_total": {(): 1.0}})
    {'a_total': {(): 2.0}, 'b_total': {(): 2.0}, 'c_total': {(): 1.0}}
    """
    return {
        name: {
            labels: value - earlier if value >= earlier else value
            for labels, value in series.items()
            for earlier in (before.get(name, {}).get(labels, 0.0),)
        }
        for name, series in now.items()
    }


def rates(before: Scrape, now: Scrape) -> Samples:
    """Return what grew a second: counters, and the lag, which may shrink. Nothing of one scrape."""
    seconds = now.at_s - before.at_s
    if seconds <= 0:
        return {}
    grown = increments(before.samples, now.samples)
    lag, earlier = (each.samples.get(LAG, {}) for each in (now, before))
    grown[LAG] = {labels: value - earlier.get(labels, value) for labels, value in lag.items()}
    return {
        name: {labels: value / seconds for labels, value in series.items()}
        for name, series in grown.items()
    }


def added(parts: Iterable[Samples]) -> Samples:
    """Return sums over workers."""
    total: Samples = {}
    for part in parts:
        for name, series in part.items():
            sums = total.setdefault(name, {})
            for labels, value in series.items():
                sums[labels] = sums.get(labels, 0.0) + value
    return total


LAG = "frontpage_consumer_lag"


def figures(now: Samples, rate: Samples, minute: Samples, num_workers: int) -> Figures:
    """Return the figures of samples.

    rate, minute: how far they grew a second, and in the last minute. num_workers: whose they are.
    """
    letters = _by(now, "frontpage_dead_letters_total", "reason")
    recent_letters = _by(minute, "frontpage_dead_letters_total", "reason")
    errors = _by(now, "frontpage_dependency_errors_total", "dependency")
    recent_errors = _by(minute, "frontpage_dependency_errors_total", "dependency")
    memory = _sum(now, "process_resident_memory_bytes")
    articles = _sum(now, "frontpage_catalogue_articles")
    return Figures(
        clicks_per_s=_sum(rate, "frontpage_clicks_total"),
        pages_per_s=_sum(rate, "frontpage_pages_total"),
        profiles_per_s=_sum(rate, "frontpage_profiles_total"),
        skipped_per_s=_sum(rate, "frontpage_skipped_total"),
        articles=None if articles is None else int(articles),
        models=sorted(_by(now, "frontpage_model_info", "model_version")),
        memory_bytes=None if memory is None else int(memory),
        cpu=_sum(rate, "process_cpu_seconds_total"),
        topics=_topics(now, rate),
        stages=_stages(rate, num_workers),
        dead_letters=_counted(recent_letters, letters),
        errors=_counted(recent_errors, errors),
        bundles_refused=_count(minute, now, "frontpage_bundles_refused_total"),
        undelivered=_count(minute, now, "frontpage_undelivered_total"),
    )


def _topics(now: Samples, rate: Samples) -> dict[str, TopicFigures]:
    done = _by(now, "frontpage_messages_total", "topic")
    messages = _by(rate, "frontpage_messages_total", "topic")
    growth = _by(rate, LAG, "topic")
    waiting: dict[str, dict[str, int]] = {}
    for labels, value in now.get(LAG, {}).items():
        place = dict(labels)
        waiting.setdefault(place["topic"], {})[place["partition"]] = int(value)
    batches = _by(rate, "frontpage_batch_messages_count", "topic")
    sizes = _means(rate, "frontpage_batch_messages", "topic")
    ages = _means(rate, "frontpage_message_age_seconds", "topic")
    names = sorted({*waiting, *done})
    # Of a topic without a message so far there is no counter yet.
    nothing = 0.0 if rate else None
    return {
        name: TopicFigures(
            messages=int(done.get(name, 0)),
            messages_per_s=messages.get(name, nothing),
            waiting=dict(sorted(waiting.get(name, {}).items(), key=lambda each: int(each[0]))),
            growth_per_s=growth.get(name),
            batch_messages=sizes.get(name),
            batches_per_s=batches.get(name, nothing),
            age_s=ages.get(name),
        )
        for name in names
    }


def _stages(rate: Samples, num_workers: int) -> dict[str, StageFigures]:
    means = _means(rate, "frontpage_stage_seconds", "stage")
    busy = _by(rate, "frontpage_stage_seconds_sum", "stage")
    return {
        name: StageFigures(means.get(name), busy[name] / num_workers if name in busy else None)
        for name in STAGES
    }


def _counted(minute: Mapping[str, float], total: Mapping[str, float]) -> dict[str, Counted]:
    return {
        name: Counted(int(minute.get(name, 0)), int(value)) for name, value in sorted(total.items())
    }


def _count(minute: Samples, now: Samples, name: str) -> Counted:
    return Counted(int(_sum(minute, name) or 0), int(_sum(now, name) or 0))


def _sum(samples: Samples, name: str) -> float | None:
    series = samples.get(name)
    return None if series is None else sum(series.values())


def _by(samples: Samples, name: str, label: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for labels, value in samples.get(name, {}).items():
        key = dict(labels).get(label, "")
        found[key] = found.get(key, 0.0) + value
    return found


def _means(rate: Samples, name: str, label: str) -> dict[str, float]:
    """Return the mean of a histogram in the window, where there was anything."""
    sums, counts = _by(rate, f"{name}_sum", label), _by(rate, f"{name}_count", label)
    return {key: sums[key] / count for key, count in counts.items() if count > 0}
