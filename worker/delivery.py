"""What follows from a batch goes to Kafka: profiles, front pages, features, dead letters."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeAlias

from schemas.topics import Topics
from worker.emitter import Emitter
from worker.intake import BadMessage
from worker.metrics import Metrics
from worker.reader_store import PageUpdate, ReaderUpdate
from worker.tracing import Span, end_spans

Update: TypeAlias = ReaderUpdate | PageUpdate


class Delivery:
    """Send what was stored, and what is bad."""

    def __init__(self, emitter: Emitter, topics: Topics, metrics: Metrics) -> None:
        self._emitter = emitter
        self._topics = topics
        self._metrics = metrics

    async def deliver(
        self,
        updates: Sequence[Update],
        bad: Collection[BadMessage] = (),
        spans: Mapping[str, Span] | None = None,
    ) -> None:
        """Send all of it, and wait until all of it has arrived.

        spans: of readers whose messages carry a trace context.

        Raises:
            UnavailableError: when anything has not.
        """
        failures_before = self._emitter.num_failures
        with self._metrics.stage("emit"):
            self._emit(updates, spans or {})
            self._bury(bad)
            await self._emitter.delivered(failures_before)
        num_profiles = sum(
            isinstance(each, ReaderUpdate) and each.profile != b"" for each in updates
        )
        self._metrics.sent(num_profiles, len(updates), bad)
        if spans:
            end_spans(spans, [update.user_id for update in updates])

    def _emit(self, updates: Iterable[Update], spans: Mapping[str, Span]) -> None:
        send, topics = self._emitter.send, self._topics
        for update in updates:
            user_id = update.user_id
            span = spans.get(user_id)
            headers = None if span is None else span.headers()
            if isinstance(update, ReaderUpdate) and update.profile:
                send(topics.profiles, user_id, update.profile, headers)
            send(topics.recommendations, user_id, update.recommendation, headers)
            if update.served is not None:
                send(topics.served_features, user_id, update.served, headers)

    def _bury(self, bad: Iterable[BadMessage]) -> None:
        for message in bad:
            self._emitter.send_dead_letter(
                self._topics.dead_letters, message.key, message.value, message.letter
            )
