"""Messages of many requests in one flush, and to each request what became of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from schemas.errors import UnavailableError
from worker.serve import publishing
from worker.serve.problems import ProblemError
from worker.serve.publishing import Outgoing, Publisher


class Brokers:
    """Take messages like an emitter; acknowledge them when told to."""

    def __init__(self) -> None:
        self.num_failures = 0
        self.sent: list[str] = []
        self.flushes: list[list[str]] = []
        self.answers = asyncio.Event()

    def send(self, topic: str, key: str, *_: object) -> None:  # noqa: ARG002 an emitter's
        self.sent.append(key)

    async def delivered(self, num_failures: int) -> None:
        self.flushes.append(self.sent)
        self.sent = []
        await self.answers.wait()
        if self.num_failures > num_failures:
            raise UnavailableError("Kafka")


@asynccontextmanager
async def published(brokers: Brokers) -> AsyncIterator[Publisher]:
    publisher = Publisher(brokers)  # type: ignore[arg-type]
    running = asyncio.create_task(publisher.run())
    yield publisher
    assert not running.done()
    running.cancel()


def to(*keys: str) -> list[Outgoing]:
    return [Outgoing("clicks", key, b"") for key in keys]


async def test_what_comes_during_a_flush_goes_with_the_next() -> None:
    brokers = Brokers()
    async with published(brokers) as publisher:
        first = asyncio.create_task(publisher.publish(to("a", "b")))
        await asyncio.sleep(0.01)
        others = [asyncio.create_task(publisher.publish(to(key))) for key in "cde"]
        await asyncio.sleep(0.01)
        assert brokers.flushes == [["a", "b"]]
        assert not first.done()
        brokers.answers.set()
        await asyncio.gather(first, *others)
        assert brokers.flushes == [["a", "b"], ["c", "d", "e"]]


async def test_a_failure_is_told_to_those_it_concerns() -> None:
    brokers = Brokers()
    async with published(brokers) as publisher:
        first = asyncio.create_task(publisher.publish(to("a")))
        await asyncio.sleep(0.01)
        brokers.num_failures += 1
        second = asyncio.create_task(publisher.publish(to("b")))
        brokers.answers.set()
        with pytest.raises(UnavailableError):
            await first
        await second


async def test_who_has_waited_too_long_is_told_and_disturbs_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publishing, "ANSWER_S", 0.02)
    brokers = Brokers()
    async with published(brokers) as publisher:
        with pytest.raises(UnavailableError):
            await publisher.publish(to("a"))
        brokers.answers.set()
        await publisher.publish(to("b"))


async def test_more_than_there_is_room_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "MAX_WAITING", 2)
    brokers = Brokers()
    brokers.answers.set()
    async with published(brokers) as publisher:
        with pytest.raises(ProblemError):
            await publisher.publish(to("a", "b", "c"))
        await publisher.publish(to("a", "b"))
