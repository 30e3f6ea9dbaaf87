"""Textbook Faust: one agent, one event at a time, the one-graph model over a reader's tokens.

As tutorials have it: for each click a read from Redis, a run of the network by onnxruntime over
the reader's recent tokens, a write to Redis, a send. It does less than the others: it emits no
profiles, and what everybody clicks is not counted.
"""

from collections.abc import Sequence
from time import time_ns
from typing import Any

import faust
import numpy as np
from faust.types import StreamT
from numpy.typing import NDArray

from schemas.bundle import ESTIMATE_OUTPUTS, load_manifest
from schemas.decode import decode_click
from schemas.history import article_ref, pack_entry
from schemas.records import Click
from schemas.timestamps import to_ms
from schemas.tokenizer import PAD_ID
from tests.benchmarks.stream.contestants.parts import Parts, settings_of_process
from worker.model import Estimates, ReferenceModel
from worker.settings import Settings


class OneByOne(ReferenceModel):
    """The reference model run for each reader alone; the worker's pads batches to 32 rows."""

    def estimate(
        self,
        rows: NDArray[np.generic],
        ages_hours: NDArray[np.float32],  # noqa: ARG002 this network knows no time
        mask: NDArray[np.float32],
    ) -> Estimates:
        """Run the network over each reader's posts, newest first."""
        results = [self._run(posts[present > 0]) for posts, present in zip(rows, mask, strict=True)]
        return Estimates(*(np.concatenate(each) for each in zip(*results, strict=True)))

    def _run(self, posts: NDArray[np.generic]) -> Sequence[NDArray[np.float32]]:
        words = posts[posts != PAD_ID][: self._reader_tokens]
        tokens = np.full((1, self._reader_tokens), PAD_ID, dtype=np.int32)
        tokens[0, : len(words)] = words
        found: Sequence[NDArray[np.float32]] = self._network.run(
            list(ESTIMATE_OUTPUTS), {"tokens": tokens}
        )
        return found[: len(Estimates._fields)]


class App(faust.App):
    """A Faust app that knows its catalogue before the first click."""

    parts: Parts

    async def on_start(self) -> None:
        """Load the catalogue, then let Faust start consuming."""
        await self.parts.load()
        await super().on_start()


def build_app(settings: Settings) -> App:
    """Put the app together."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    app = App(
        settings.app_id,
        broker=f"kafka://{settings.kafka_bootstrap}",
        broker_commit_interval=settings.commit_interval_s,
        consumer_auto_offset_reset="earliest",
        stream_wait_empty=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        store="memory://",
        datadir=settings.data_dir,
        web_enabled=False,
        autodiscover=False,
    )
    parts = Parts(settings, OneByOne(settings.bundle, load_manifest(settings.bundle)))
    app.parts = parts
    raw: dict[str, Any] = {"key_serializer": "raw", "value_serializer": "raw"}
    clicks = app.topic(settings.topic_clicks, **raw)
    recommendations = app.topic(settings.topic_recommendations, **raw)

    async def each(stream: StreamT[bytes]) -> None:
        async for value in stream:
            click = decode_click(value, time_ns() // 1_000_000)
            assert isinstance(click, Click), "the benchmark's clicks are good"
            at_ms = to_ms(click.timestamp)
            entry = pack_entry(at_ms, click.event_id, article_ref(click.article_id))
            parts.newest_click_ms = max(parts.newest_click_ms, at_ms)
            user_id = click.user_id
            held = await parts.readers.read([user_id], [])
            (update,) = parts.renew({user_id: [entry]}, [user_id], held, learn=False)
            await parts.readers.write([update])
            await recommendations.send(key=user_id.encode(), value=update.recommendation)

    app.agent(clicks, name="clicks")(each)
    return app


def main() -> None:
    """Consume until SIGTERM."""
    app = build_app(settings_of_process())
    worker = app.Worker(quiet=True, override_logging=False, redirect_stdouts=False)
    worker.spinner = None
    worker.execute_from_commandline()


if __name__ == "__main__":
    main()
