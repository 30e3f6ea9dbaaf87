"""What waits is processed together, in order, and no more of it waits than there is room for."""

import asyncio
from collections.abc import Sequence

import pytest

from worker.chunks import Chunk, Record
from worker.gathering import Gatherer, Turn


def chunk(partition: int, size: int) -> Chunk:
    return Chunk(
        "clicks", [Record("clicks", partition, offset, 0, None, None) for offset in range(size)]
    )


class Gate:
    """Processes what it is given when it is let to."""

    def __init__(self) -> None:
        self.taken: list[list[int]] = []
        self.open = asyncio.Event()

    async def process(self, chunks: Sequence[Chunk], turn: Turn) -> None:
        self.taken.append([partition for each in chunks for partition in each.ends])
        async with turn.work:
            await self.open.wait()


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_what_comes_meanwhile_is_processed_together_as_far_as_there_is_room() -> None:
    gate = Gate()
    gatherer = Gatherer(gate.process, 10)
    run = asyncio.create_task(gatherer.run())
    await gatherer.put(chunk(0, 1))
    await settled()
    for partition in (1, 2, 3):
        await gatherer.put(chunk(partition, 4))
    assert gate.taken == [[0]]
    gate.open.set()
    await settled()
    assert gate.taken == [[0], [1, 2], [3]]
    run.cancel()


async def test_who_brings_more_than_may_wait_waits() -> None:
    gate = Gate()
    gatherer = Gatherer(gate.process, 10)
    run = asyncio.create_task(gatherer.run())
    await gatherer.put(chunk(0, 1))
    await settled()
    await gatherer.put(chunk(1, 30))  # larger than all that may wait: alone
    late = asyncio.create_task(gatherer.put(chunk(2, 1)))
    await settled()
    assert not late.done()
    gate.open.set()
    await settled()
    assert late.done()
    assert gate.taken == [[0], [1], [2]]
    run.cancel()


async def test_who_is_to_stop_finishes_what_is_begun_and_begins_nothing_more() -> None:
    gate = Gate()
    gatherer = Gatherer(gate.process, 10, at_once=2)
    run = asyncio.create_task(gatherer.run())
    for partition in range(4):
        await gatherer.put(chunk(partition, 2))
        await settled()
    assert gate.taken == [[0]]
    gatherer.stop()
    gate.open.set()
    await run
    assert gate.taken == [[0]]


async def test_a_fault_ends_it_and_says_where_it_was() -> None:
    async def fail(chunks: Sequence[Chunk], _: Turn) -> None:
        raise ValueError(f"{len(chunks)} chunks")

    gatherer = Gatherer(fail, 10)
    await gatherer.put(chunk(0, 2))
    await gatherer.put(chunk(3, 5))
    with pytest.raises(ValueError, match="2 chunks"):
        await gatherer.run()
    assert gatherer.place == "clicks[0] up to offset 1, clicks[3] up to offset 4"


class Deliveries:
    """Works at once, and delivers when it is let to."""

    def __init__(self) -> None:
        self.begun: list[list[int]] = []
        self.working, self.delivered = asyncio.Event(), asyncio.Event()

    async def process(self, chunks: Sequence[Chunk], turn: Turn) -> None:
        async with turn.work:
            self.begun.append([partition for each in chunks for partition in each.ends])
            await self.working.wait()
        await self.delivered.wait()


async def test_the_next_begins_while_one_is_delivered_and_takes_all_that_came_until_then() -> None:
    deliveries = Deliveries()
    gatherer = Gatherer(deliveries.process, 100, at_once=2)
    run = asyncio.create_task(gatherer.run())
    await gatherer.put(chunk(0, 1))
    await settled()
    for partition in (1, 2):
        await gatherer.put(chunk(partition, 1))
        await settled()
    assert deliveries.begun == [[0]]
    deliveries.working.set()
    await settled()
    assert deliveries.begun == [[0], [1, 2]]
    await gatherer.put(chunk(3, 1))
    await settled()
    assert deliveries.begun == [[0], [1, 2]], "two are being delivered"
    deliveries.delivered.set()
    await settled()
    assert deliveries.begun == [[0], [1, 2], [3]]
    run.cancel()


async def test_a_fault_ends_it_while_nothing_comes() -> None:
    fails = asyncio.Event()

    async def fail_later(_: Sequence[Chunk], turn: Turn) -> None:
        async with turn.work:
            pass
        await fails.wait()
        raise ValueError("not delivered")

    gatherer = Gatherer(fail_later, 10, at_once=2)
    await gatherer.put(chunk(2, 1))
    run = asyncio.create_task(gatherer.run())
    await settled()
    fails.set()
    with pytest.raises(ValueError, match="not delivered"):
        await run
    assert gatherer.place == "clicks[2] up to offset 0"
