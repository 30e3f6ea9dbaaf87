"""Chunks pass through Faust untouched, and Faust's own account of them counts for nothing."""

import asyncio
from typing import Any, cast

import faust
import pytest
from confluent_kafka import KafkaError, KafkaException
from faust.types import TP

from worker.chunks import Chunk, Place, Record
from worker.transport import CODEC, SETTLED_REST_S, Consumer, Transport

CLICKS = TP("clicks", 0)


@pytest.fixture
async def consumer() -> Consumer:
    app = faust.App("test", broker="chunked://127.0.0.1:1", store="memory://", web_enabled=False)
    assert isinstance(app.transport, Transport)

    async def ignore(*_: Any, **__: Any) -> None:
        return None

    found = app.transport.create_consumer(
        callback=ignore, on_partitions_revoked=ignore, on_partitions_assigned=ignore
    )
    assert isinstance(found, Consumer)
    return found


async def test_the_codec_hands_the_chunk_on_untouched(consumer: Consumer) -> None:
    whole = Chunk("clicks", [Record("clicks", 0, 3, 1000, b"k", b"v")])
    topic = consumer.app.topic("clicks", key_serializer="raw", value_serializer=CODEC)
    event = await topic.decode(consumer._chunk_message(CLICKS, whole))
    assert event.value is whole


class Fetched:
    """What has come of topics, and what was committed; brokers may refuse."""

    def __init__(self, *fetched: list[Record], refuse: bool = False) -> None:
        self.fetched = list(fetched)
        self.commits: list[dict[Place, int]] = []
        self._refuse = refuse

    async def take(self, _: float) -> dict[str, list[Record]]:
        await asyncio.sleep(0)
        return {"clicks": self.fetched.pop(0)} if self.fetched else {}

    async def commit(self, ends: dict[Place, int]) -> None:
        self.commits.append(ends)
        if self._refuse:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))


async def chunks_of(consumer: Consumer, fetched: Fetched, times: int) -> list[Chunk]:
    consumer._fetching = cast("Any", fetched)
    consumer.resume_flow()
    found = []
    for _ in range(times):
        found += [message.value async for _, message in consumer.getmany(1.0)]
    return cast("list[Chunk]", found)


def clicks(offset: int) -> list[Record]:
    return [Record("clicks", 0, offset, 1000, b"k", b"v")]


async def test_when_nothing_more_comes_what_is_stored_is_committed(consumer: Consumer) -> None:
    fetched = Fetched(clicks(3), clicks(4))
    first, second = await chunks_of(consumer, fetched, 3)
    first.set_stored()
    await chunks_of(consumer, fetched, 2)
    assert not fetched.commits  # the second is in progress
    second.set_stored()
    await chunks_of(consumer, fetched, 2)
    assert fetched.commits == [{("clicks", 0): 5}]


async def test_where_clicks_are_few_not_each_is_committed_by_itself(consumer: Consumer) -> None:
    fetched = Fetched()
    for offset in range(9):
        fetched.fetched.append(clicks(offset))
        (chunk,) = await chunks_of(consumer, fetched, 1)
        chunk.set_stored()
        await chunks_of(consumer, fetched, 3)
    assert fetched.commits == [{("clicks", 0): 1}]
    await asyncio.sleep(SETTLED_REST_S)
    await chunks_of(consumer, fetched, 1)
    assert fetched.commits == [{("clicks", 0): 1}, {("clicks", 0): 9}]


async def test_brokers_that_refuse_a_commit_are_not_asked_over_and_over(
    consumer: Consumer,
) -> None:
    fetched = Fetched(clicks(3), refuse=True)
    (chunk,) = await chunks_of(consumer, fetched, 1)
    chunk.set_stored()
    await chunks_of(consumer, fetched, 1)
    await asyncio.sleep(SETTLED_REST_S)
    await chunks_of(consumer, fetched, 5)
    assert len(fetched.commits) == 1
    assert consumer._account.due() == {("clicks", 0): 4}


async def test_what_faust_acknowledges_counts_for_nothing(consumer: Consumer) -> None:
    whole = Chunk("clicks", [Record("clicks", 0, 3, 1000, b"k", b"v")])
    consumer._account.hand_out(whole)
    consumer._acked[CLICKS].append(3)
    assert await consumer.commit() is False
    assert consumer.has_unstored("clicks")
    assert consumer._account.due() == {}
