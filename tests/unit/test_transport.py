"""Chunks pass through Faust untouched, and Faust's own account of them counts for nothing."""

from typing import Any

import faust
import pytest
from faust.types import TP

from worker.chunks import Chunk, Record
from worker.transport import CODEC, Consumer, Transport

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


async def test_what_faust_acknowledges_counts_for_nothing(consumer: Consumer) -> None:
    whole = Chunk("clicks", [Record("clicks", 0, 3, 1000, b"k", b"v")])
    consumer._account.hand_out(whole)
    consumer._acked[CLICKS].append(3)
    assert await consumer.commit() is False
    assert consumer.has_unstored("clicks")
    assert consumer._account.due() == {}
