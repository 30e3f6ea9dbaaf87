"""Chunks that wait are processed together, whatever partitions they are of.

A batch of one click took 20 to 30 ms, one of forty twice as long: a look at what is on offer, a
run of the model, round trips to Redis, the wait for Kafka. Chunk after chunk, each of one
partition, a worker is busy with next to nothing, and clicks wait for each other.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from worker.transport import Chunk


class Gatherer:
    """Hand what has come on, all of it at once, when what went before is done.

    most_records: at most so many messages at once, and waiting; a chunk is never divided.
    """

    def __init__(
        self, process: Callable[[Sequence[Chunk]], Awaitable[None]], most_records: int
    ) -> None:
        self._process = process
        self._most_records = most_records
        self._waiting: deque[Chunk] = deque()
        self._num_waiting = 0
        self._changed = asyncio.Condition()
        self.place = ""
        """What is being processed, for the log."""

    async def put(self, chunk: Chunk) -> None:
        """Let a chunk wait, as soon as there is room for it."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._num_waiting < self._most_records)
            self._waiting.append(chunk)
            self._num_waiting += len(chunk.records)
            self._changed.notify_all()

    async def run(self) -> None:
        """Process what comes, for ever; what `process` raises ends it."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._waiting)
                taken = self._take()
                self._changed.notify_all()
            self.place = ", ".join(
                f"{chunk.topic}[{chunk.partition}] up to offset {chunk.next_offset - 1}"
                for chunk in taken
            )
            await self._process(taken)

    def _take(self) -> list[Chunk]:
        taken = [self._waiting.popleft()]
        num_taken = len(taken[0].records)
        while self._waiting and num_taken + len(self._waiting[0].records) <= self._most_records:
            taken.append(self._waiting.popleft())
            num_taken += len(taken[-1].records)
        self._num_waiting -= num_taken
        return taken
