"""Clicks that keep coming while something breaks, and a record of what was published."""

import random
import threading
import time
from collections.abc import Iterator
from itertools import islice
from types import TracebackType
from typing import Self

import msgspec
from confluent_kafka import KafkaError, Message, Producer

from schemas.records import Click
from tests.e2e.installation import Installation

TICK_S = 0.01
PATIENCE_MS = 600_000
"""How long the producer tries: brokers are away for a while in these tests."""

_json = msgspec.json.Encoder()


def clicks(seed: int, article_ids: list[str], num_readers: int, begin_ms: int) -> Iterator[Click]:
    """Yield clicks for ever, the same for the same arguments; one in twenty is late by a minute."""
    draw = random.Random(seed)
    number = 0
    while True:
        late_ms = 60_000 if draw.random() < 0.05 else 0
        yield Click(
            user_id=f"r{draw.randrange(num_readers):05d}",
            article_id=draw.choice(article_ids),
            timestamp=begin_ms + 50 * number - late_ms,
            event_id=f"e{number}",
        )
        number += 1


class Load:
    """Publish clicks at a rate, in a thread, from `with` to the end of its block.

    Another `with` goes on with the next click. rate: clicks a second; those that brokers could not
    take are published when they can.
    """

    def __init__(
        self,
        site: Installation,
        article_ids: list[str],
        begin_ms: int,
        *,
        rate: float,
        num_readers: int = 300,
        seed: int = 1,
    ) -> None:
        self._site = site
        self._arguments = (seed, article_ids, num_readers, begin_ms)
        self._stream = clicks(*self._arguments)
        self.rate = rate
        """May be changed between one block and the next."""
        self._num_sent = 0
        self._num_arrived = 0
        self._error: KafkaError | None = None
        self._ends = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def num_arrived(self) -> int:
        """How many the brokers have acknowledged."""
        return self._num_arrived

    def sent(self) -> Iterator[Click]:
        """Yield what has been published, from the beginning."""
        return islice(clicks(*self._arguments), self._num_sent)

    def __enter__(self) -> Self:
        self._ends.clear()
        self._thread = threading.Thread(target=self._publish)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ends.set()
        assert self._thread is not None
        self._thread.join()
        if kind is None:
            assert self._error is None, self._error
            assert self._num_arrived == self._num_sent, "clicks were not published"

    def _publish(self) -> None:
        producer = Producer(
            {
                **self._site.client_config,
                "acks": "all",
                "linger.ms": 5,
                "message.timeout.ms": PATIENCE_MS,
                "log_level": 0,
            }
        )
        began, already = time.monotonic(), self._num_sent
        while not self._ends.is_set():
            due = already + int((time.monotonic() - began) * self.rate) - self._num_sent
            for click in islice(self._stream, due):
                self._send(producer, click)
            producer.poll(TICK_S)
        producer.flush(120)

    def _send(self, producer: Producer, click: Click) -> None:
        topic = self._site.settings.topic_clicks
        while True:
            try:
                producer.produce(topic, _json.encode(click), click.user_id, on_delivery=self._note)
                self._num_sent += 1
                return
            except BufferError:
                producer.poll(0.1)

    def _note(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._error = error
            return
        self._num_arrived += 1
        place = (message.topic() or "", message.partition() or 0)
        end = (message.offset() or 0) + 1
        self._site.ends[place] = max(self._site.ends.get(place, 0), end)
