"""Batches are sent in the order in which they are stored, and none waits for it with its work."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from schemas.decode import decode_click
from schemas.topics import Topics
from worker.chunks import Chunk, Record
from worker.gathering import Turn
from worker.health_state import HealthState
from worker.intake import Intake, sort_records
from worker.metrics import Metrics
from worker.overtaken import Overtaken
from worker.pipeline import Pipeline
from worker.serving import Serving

TOPICS = Topics()


class Brokers:
    """Take as long as they are told to; note what arrives."""

    def __init__(self) -> None:
        self.arrived: list[Any] = []
        self.answers: asyncio.Queue[None] = asyncio.Queue()

    async def deliver(self, updates: Sequence[Any], *_: Any) -> None:
        await self.answers.get()
        self.arrived += updates


class NoErasures:
    num_withdrawals = 0

    async def look_again(self, *_: Any) -> None:
        """Nobody was erased."""


@pytest.fixture
def brokers() -> Brokers:
    return Brokers()


@pytest.fixture
def stored() -> list[int]:
    return []


@pytest.fixture
def pipeline(brokers: Brokers, stored: list[int], monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    unused: Any = None
    delivery: Any = brokers
    erasures: Any = NoErasures()

    async def take(_: Pipeline, intake: Intake, __: Any) -> list[int]:
        await asyncio.sleep(0)
        stored.append(intake.newest_ms)
        return [intake.newest_ms]

    def sort(_: Pipeline, records: Sequence[Record]) -> Intake:
        nothing = sort_records([], decode_click, 0)
        return nothing._replace(newest_ms=records[0].offset)

    monkeypatch.setattr(Pipeline, "_take", take)
    monkeypatch.setattr(Pipeline, "_sort", sort)
    serving: Serving = unused
    return Pipeline(
        topics=TOPICS,
        serving=serving,
        click_log=unused,
        delivery=delivery,
        erasures=erasures,
        metrics=Metrics(),
        health=HealthState(60.0),
        overtaken=Overtaken(unused, lambda: 1, 60.0),
    )


async def settled() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_a_batch_is_stored_while_those_before_wait_for_brokers(
    pipeline: Pipeline, brokers: Brokers, stored: list[int]
) -> None:
    turn = Turn()
    chunks = [
        Chunk(TOPICS.clicks, [Record(TOPICS.clicks, 0, offset, 0, None, None)])
        for offset in range(3)
    ]
    batches = [asyncio.create_task(pipeline.process([chunk], turn)) for chunk in chunks]
    await settled()
    assert stored == [0, 1, 2] and not brokers.arrived
    for num in range(1, 4):
        brokers.answers.put_nowait(None)
        await settled()
        assert brokers.arrived == list(range(num))
        assert [chunk.stored for chunk in chunks] == [each < num for each in range(3)]
    await asyncio.gather(*batches)


async def test_a_batch_that_lets_articles_go_first_is_not_overtaken(
    pipeline: Pipeline, brokers: Brokers, stored: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([True])  # articles wait while the first batch looks, and no more
    monkeypatch.setattr(pipeline, "_is_pending", lambda _: next(looks, False))
    turn = Turn()
    chunks = [
        Chunk(TOPICS.clicks, [Record(TOPICS.clicks, 0, offset, 0, None, None)])
        for offset in range(2)
    ]
    batches = [asyncio.create_task(pipeline.process([chunk], turn)) for chunk in chunks]
    for _ in chunks:
        brokers.answers.put_nowait(None)
    await asyncio.gather(*batches)
    assert stored == [0, 1]
