"""Chunks that wait are processed together.

A batch costs something whatever is in it: runs of the model, round trips to Redis, the wait for
Kafka. Chunk after chunk, a worker is busy with next to nothing, and clicks wait for each other.

While what came of one batch is on its way to Kafka the next may begin.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from worker.chunks import Chunk, place_of


class Turn:
    """What batches of one topic take in turns.

    A batch holds `work` until its results are stored, and `delivery` from then until they have
    arrived; it asks for the second at the moment it lets go of the first, so that batches stay in
    order, and waits for it while the next is made.
    """

    def __init__(self) -> None:
        self.work = asyncio.Lock()
        self.delivery = asyncio.Lock()


Process = Callable[[Sequence[Chunk], Turn], Awaitable[None]]


class Gatherer:
    """Hand what has come on, all of it at once, when what went before is done.

    most_records: at most so many messages at once, and waiting; a chunk is never divided.
    at_once: batches that may be in progress: 2 let the next begin while one is delivered. Whoever
    has to be done again may then come after the next.
    """

    def __init__(self, process: Process, most_records: int, at_once: int = 1) -> None:
        self._process = process
        self._most_records = most_records
        self._room = asyncio.Semaphore(at_once)
        self._turn = Turn()
        self._waiting: deque[Chunk] = deque()
        self._num_waiting = 0
        self._changed = asyncio.Condition()
        self._is_stopping = False
        self.place = ""
        """What could not be processed, for the log."""

    async def put(self, chunk: Chunk) -> None:
        """Let a chunk wait, as soon as there is room for it."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._num_waiting < self._most_records)
            self._waiting.append(chunk)
            self._num_waiting += len(chunk.records)
            self._changed.notify_all()

    async def run(self) -> None:
        """Process what comes, for ever; what `process` raises ends it."""
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    await self._room.acquire()
                    async with self._changed:
                        await self._changed.wait_for(
                            lambda: self._waiting and not self._is_stopping
                        )
                    async with self._turn.work:
                        pass  # what comes until the next can begin goes with it
                    if self._is_stopping:
                        return
                    async with self._changed:
                        taken = self._take()
                        self._changed.notify_all()
                    group.create_task(self._handle(taken))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None

    def stop(self) -> None:
        """Begin nothing more: what waits is delivered again, to whoever comes next."""
        self._is_stopping = True

    async def _handle(self, taken: Sequence[Chunk]) -> None:
        try:
            await self._process(taken, self._turn)
        except Exception:
            self.place = place_of(taken)
            raise
        finally:
            self._room.release()

    def _take(self) -> list[Chunk]:
        taken = [self._waiting.popleft()]
        num_taken = len(taken[0].records)
        while self._waiting and num_taken + len(self._waiting[0].records) <= self._most_records:
            taken.append(self._waiting.popleft())
            num_taken += len(taken[-1].records)
        self._num_waiting -= num_taken
        return taken
