"""Quix Streams over the worker's pure functions: a sink that takes all of a checkpoint's clicks.

Its usual way, message by message, would run the network for one reader at a time. A sink gets
what came since the last checkpoint at once, and so does the worker's batches: the fastest way that
Quix Streams offers.
"""

import asyncio
from typing import Any

from tests.benchmarks.stream.contestants.parts import Parts, settings_of_process
from worker.chunks import Record
from worker.model import load_model

POLL_S = 0.1


class Batch:
    """Gather clicks, and take them where Quix Streams commits."""

    def __init__(self, parts: Parts, loop: asyncio.AbstractEventLoop) -> None:
        self._parts = parts
        self._loop = loop
        self.records: list[Record] = []

    def take(self) -> None:
        """Store and emit what follows from the clicks; Quix Streams commits then."""
        self._loop.run_until_complete(self._take())
        self.records = []

    async def _take(self) -> None:
        await self._parts.follow()
        if self.records:
            await self._parts.take(self.records)


def sink(batch: Batch) -> Any:
    """Return the batch as Quix Streams wants it."""
    # Imported here: the package is not a dependency of the project.
    from quixstreams.sinks.base import BaseSink

    class Sink(BaseSink):  # type: ignore[misc, unused-ignore]
        """What Quix Streams calls: message by message, and at checkpoints."""

        def setup(self) -> None:
            """Do nothing: everything is connected."""

        def add(
            self,
            value: Any,
            key: Any,
            timestamp: int,
            headers: Any,  # noqa: ARG002
            topic: str,
            partition: int,
            offset: int,
        ) -> None:
            """Keep a click until the next checkpoint."""
            batch.records.append(Record(topic, partition, offset, timestamp, key, value))

        def flush(self) -> None:
            """Take the clicks."""
            batch.take()

        def on_paused(self) -> None:
            """Forget what will be delivered again."""
            batch.records = []

    return Sink()


def main() -> None:
    """Consume until SIGTERM."""
    from quixstreams import Application

    settings = settings_of_process()
    parts = Parts(settings, load_model(settings.bundle))
    loop = asyncio.new_event_loop()
    loop.run_until_complete(parts.load())
    app = Application(
        settings.kafka_bootstrap,
        consumer_group=settings.app_id,
        auto_offset_reset="earliest",
        commit_every=settings.batch_size,
        commit_interval=settings.commit_interval_s,
        auto_create_topics=False,
        use_changelog_topics=False,
        state_dir=settings.data_dir,
        loglevel="WARNING",
        consumer_poll_timeout=POLL_S,
        consumer_extra_config={"fetch.wait.max.ms": round(settings.fetch_wait_s * 1000)},
    )
    raw: Any = {"key_deserializer": "bytes", "value_deserializer": "bytes"}
    app.dataframe(app.topic(settings.topic_clicks, **raw)).sink(sink(Batch(parts, loop)))
    app.run()


if __name__ == "__main__":
    main()
