"""What may be committed: only what is stored, only in order."""

from collections import deque
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from faust.types import TP

from worker.transport import CODEC, Chunk, Consumer, Transport

CLICKS = TP("clicks", 0)


@pytest.fixture
async def consumer() -> AsyncIterator[Consumer]:
    app = faust.App("test", broker="chunked://127.0.0.1:1", store="memory://", web_enabled=False)
    assert isinstance(app.transport, Transport)

    async def ignore(*_: Any, **__: Any) -> None:
        return None

    found = app.transport.create_consumer(
        callback=ignore, on_partitions_revoked=ignore, on_partitions_assigned=ignore
    )
    assert isinstance(found, Consumer)
    yield found
    found._thread.thread_loop.close()  # made for a thread that never started


def chunk(first: int, last: int) -> Chunk:
    return Chunk("clicks", 0, [SimpleNamespace(offset=offset) for offset in range(first, last + 1)])


def hand_out(consumer: Consumer, *chunks: Chunk) -> None:
    consumer._chunks[CLICKS] = deque(chunks)


async def test_nothing_stored_is_nothing_to_commit(consumer: Consumer) -> None:
    hand_out(consumer, chunk(0, 9))
    assert consumer._new_offset(CLICKS) is None


async def test_the_longest_run_of_stored_chunks_is_committed(consumer: Consumer) -> None:
    chunks = [chunk(0, 9), chunk(10, 14), chunk(15, 20), chunk(21, 30)]
    hand_out(consumer, *chunks)
    assert consumer.has_unstored("clicks") and not consumer.has_unstored("articles")
    for number in (0, 1, 3):
        chunks[number].set_stored()
    assert consumer._new_offset(CLICKS) == 15
    assert consumer._new_offset(CLICKS) is None
    chunks[2].set_stored()
    assert consumer._new_offset(CLICKS) == 31
    assert not consumer.has_unstored("clicks")


async def test_what_faust_acknowledges_counts_for_nothing(consumer: Consumer) -> None:
    hand_out(consumer, chunk(0, 9))
    consumer._acked[CLICKS].append(9)
    consumer._acked_index[CLICKS].add(9)
    assert list(consumer._filter_tps_with_pending_acks()) == [CLICKS]
    assert consumer._new_offset(CLICKS) is None


async def test_gaps_of_compaction_do_not_hold_commits_up(consumer: Consumer) -> None:
    await consumer._add_gap(CLICKS, 0, 1000)
    late = chunk(1000, 1009)
    late.set_stored()
    hand_out(consumer, late)
    assert consumer._new_offset(CLICKS) == 1010


async def test_after_a_rebalance_old_chunks_count_no_more(consumer: Consumer) -> None:
    old = chunk(0, 9)
    hand_out(consumer, old)
    consumer._forget_chunks()
    old.set_stored()
    assert consumer._new_offset(CLICKS) is None


async def test_the_codec_hands_the_chunk_on_untouched(consumer: Consumer) -> None:
    whole = chunk(0, 3)
    topic = consumer.app.topic("clicks", key_serializer="raw", value_serializer=CODEC)
    message = consumer._chunk_message(CLICKS, whole_with_times(whole))
    event = await topic.decode(message)
    assert event.value is whole


def whole_with_times(whole: Chunk) -> Chunk:
    for record in whole.records:
        record.timestamp, record.timestamp_type = 1000, 0
    return whole
