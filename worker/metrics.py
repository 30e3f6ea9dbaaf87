"""What the worker measures of itself, for Prometheus: noted once a batch, never once a click.

Labels are names of topics, stages, reasons and services: small sets, and nothing a message says.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from schemas.bundle import Manifest
from worker.chunks import Record
from worker.intake import BadMessage, Intake

STAGES = ("fetch", "decode", "read", "compute", "write", "emit", "commit")
"""Parts of a batch, and what goes on beside batches: computing one part of it and writing the one
before go on side by side; fetching and committing are done by a thread of their own."""

REASONS = ("empty", "future", "invalid", "malformed", "oversized", "timestamp")
"""Of dead letters; see `schemas.decode`."""

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_AGES = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3600.0)
_SIZES = (1, 4, 16, 64, 256, 1024, 4096, 16384)


class Metrics:
    """All metrics of one worker, in a registry of their own."""

    def __init__(self) -> None:
        # A series beside each, which nobody looks at.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        # Memory, CPU time and open files, from /proc; where there is none, nothing.
        ProcessCollector(registry=self.registry)
        self._messages = self._counter("messages", "Messages that are done with", "topic")
        self._batch = self._histogram("batch_messages", "Messages in a batch", _SIZES, "topic")
        self._age = self._histogram(
            "message_age_seconds", "From the oldest message of a batch to its end", _AGES, "topic"
        )
        self._stage = self._histogram("stage_seconds", "Of a part of a batch", _SECONDS, "stage")
        self._clicks = self._counter("clicks", "Clicks taken in, repeated ones too")
        self._skipped = self._counter("skipped", "Messages without consent, or of no use")
        self._profiles = self._counter("profiles", "Profiles stored and sent")
        self._pages = self._counter("pages", "Front pages stored and sent")
        self._letters = self._counter("dead_letters", "Messages that cannot be used", "reason")
        self._errors = self._counter(
            "dependency_errors", "Times that something was tried again", "dependency"
        )
        self._model = self._gauge("model_info", "The model that is served", "model_version")
        self._loaded = self._gauge("model_loaded_timestamp_seconds", "When it was loaded")
        self._swaps = self._counter("model_swaps", "Bundles taken up without a restart")
        self._refused = self._counter("bundles_refused", "Bundles that were not taken up")
        self._shadow = self._gauge("shadow_model_info", "The model compared", "model_version")
        self._shadow_failures = self._counter("shadow_failures", "Second models given up")
        self._shadow_seconds = self._counter("shadow_seconds", "CPU time of comparisons")
        self._shadow_batches = self._counter("shadow_batches", "Batches compared")
        self._shadow_articles = self._counter("shadow_articles", "Articles encoded to compare")
        self._shadow_readers = self._counter("shadow_readers", "Readers compared")
        self._shadow_years = self._counter(
            "shadow_age_difference_years", "Sum of absolute differences of ages"
        )
        self._shadow_compared = self._counter("shadow_compared", "Readers compared", "attribute")
        self._shadow_agreed = self._counter(
            "shadow_agreed", "Readers of whom both say the same", "attribute"
        )
        # There from the start, at 0: a rate needs the step from it.
        for stage in STAGES:
            self._stage.labels(stage)
        for reason in REASONS:
            self._letters.labels(reason)
        for dependency in ("kafka", "redis", "other"):
            self._errors.labels(dependency)
        for attribute in ("gender", "income_group"):
            self._shadow_compared.labels(attribute)
            self._shadow_agreed.labels(attribute)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a part of a batch, one of `STAGES`; from any thread."""
        with self._stage.labels(name).time():
            yield

    def sorted_out(self, records: Sequence[Record], intake: Intake) -> None:
        """Count a batch of a topic that is stored."""
        topic, oldest_ms = records[0].topic, min(record.timestamp for record in records)
        self._messages.labels(topic).inc(len(records))
        self._batch.labels(topic).observe(len(records))
        if oldest_ms >= 0:  # Kafka knows none
            self._age.labels(topic).observe(max(0.0, time.time() - oldest_ms / 1000))
        self._clicks.inc(sum(map(len, intake.clicks.values())))
        self._skipped.inc(intake.num_skipped)

    def sent(self, num_profiles: int, num_pages: int, bad: Iterable[BadMessage]) -> None:
        """Count what has arrived at the brokers."""
        self._profiles.inc(num_profiles)
        self._pages.inc(num_pages)
        for message in bad:
            reason = message.letter.reason
            self._letters.labels(reason if reason in REASONS else "invalid").inc()

    def failed(self, dependency: str) -> None:
        """Count what did not work and is tried again; see `redis_client.dependency_of`."""
        self._errors.labels(dependency).inc()

    def serves(self, manifest: Manifest, *, swapped: bool = False) -> None:
        """Say which model is served from now on."""
        self._model.clear()
        self._model.labels(manifest.model_version).set(1)
        self._loaded.set_to_current_time()
        if swapped:
            self._swaps.inc()

    def refused(self) -> None:
        """Count a bundle that was not taken up."""
        self._refused.inc()

    def shadows(self, manifest: Manifest) -> None:
        """Say which model is compared with the one that is served."""
        self._shadow.labels(manifest.model_version).set(1)

    def shadow_failed(self) -> None:
        """Count a second model that was given up."""
        self._shadow.clear()
        self._shadow_failures.inc()

    def shadow_took(self, seconds: float, num_articles: int) -> None:
        """Count a batch that was compared, and the articles encoded for it."""
        self._shadow_batches.inc()
        self._shadow_seconds.inc(seconds)
        self._shadow_articles.inc(num_articles)

    def shadow_ages(self, num_readers: int, years: float) -> None:
        """Add up how far ages differ. years: the sum over readers of absolute differences."""
        self._shadow_readers.inc(num_readers)
        self._shadow_years.inc(years)

    def shadow_agrees(self, attribute: str, num_agreed: int, num_compared: int) -> None:
        """Count of how many readers both models say the same."""
        self._shadow_compared.labels(attribute).inc(num_compared)
        self._shadow_agreed.labels(attribute).inc(num_agreed)

    def watch(
        self,
        lag: Callable[[], Mapping[tuple[str, int], int]],
        num_articles: Callable[[], int],
        num_undelivered: Callable[[], int],
    ) -> None:
        """Ask for these whenever somebody asks for the metrics. lag: messages by partition."""
        self.registry.register(_Watched(lag, num_articles, num_undelivered))

    def text(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self.registry)

    def names(self) -> set[str]:
        """Return the names of the series that a scrape may hold."""
        return {
            name
            for metric in self.registry.collect()
            for name in (
                *(sample.name for sample in metric.samples),
                *_series_of(metric),
            )
        }

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"frontpage_{name}", what, labels, registry=self.registry)

    def _gauge(self, name: str, what: str, *labels: str) -> Gauge:
        return Gauge(f"frontpage_{name}", what, labels, registry=self.registry)

    def _histogram(
        self, name: str, what: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(f"frontpage_{name}", what, labels, registry=self.registry, buckets=buckets)


class _Watched(Collector):
    def __init__(
        self,
        lag: Callable[[], Mapping[tuple[str, int], int]],
        num_articles: Callable[[], int],
        num_undelivered: Callable[[], int],
    ) -> None:
        self._lag = lag
        self._num_articles = num_articles
        self._num_undelivered = num_undelivered

    def collect(self) -> Iterator[Metric]:
        """Yield what is held elsewhere."""
        lag = GaugeMetricFamily(
            "frontpage_consumer_lag",
            "Messages of a partition of this worker that are not committed yet",
            labels=("topic", "partition"),
        )
        for (topic, partition), num in self._lag().items():
            lag.add_metric((topic, str(partition)), num)
        yield lag
        yield GaugeMetricFamily(
            "frontpage_catalogue_articles", "Articles that are known", self._num_articles()
        )
        yield CounterMetricFamily(
            "frontpage_undelivered",
            "Messages that the brokers did not take; their batch was done again",
            self._num_undelivered(),
        )


def _series_of(metric: Metric) -> Iterator[str]:
    """Yield the names of a metric's series, whether or not it has any yet."""
    if metric.type == "histogram":
        for ending in ("bucket", "count", "sum"):
            yield f"{metric.name}_{ending}"
    else:
        yield f"{metric.name}_total" if metric.type == "counter" else metric.name
