"""Keys for all requests that wait, in one command: it costs as much as the rest of a request."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from worker.redis_client import Client, get_many

REDIS_S = 2.0
"""How long a request waits for Redis."""

Reply = TypeVar("Reply")
Asked = tuple[Sequence[str], "asyncio.Future[list[bytes | None]]"]


class SharedReads:
    """Read keys. What is asked for in the same turn of the event loop goes to Redis together."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._waiting: list[Asked] = []
        self._under_way: set[asyncio.Task[None]] = set()

    async def get(self, names: Sequence[str]) -> list[bytes | None]:
        """Return the values of some keys.

        Raises:
            TimeoutError, and the errors of redis-py: when Redis does not answer.
        """
        loop = asyncio.get_running_loop()
        values: asyncio.Future[list[bytes | None]] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._begin)
        self._waiting.append((names, values))
        return await in_time(values)

    def _begin(self) -> None:
        batch, self._waiting = self._waiting, []
        task = asyncio.ensure_future(self._read(batch))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _read(self, batch: Sequence[Asked]) -> None:
        try:
            values = await get_many(self._client, [name for names, _ in batch for name in names])
        except Exception as error:  # it is for those who asked
            for _, asked in batch:
                if not asked.done():
                    asked.set_exception(error)
            return
        start = 0
        for names, asked in batch:
            if not asked.done():  # it may have waited too long
                asked.set_result(values[start : start + len(names)])
            start += len(names)


async def in_time(reply: Awaitable[Reply]) -> Reply:
    """Wait for Redis, but not for long.

    Raises:
        TimeoutError: after `REDIS_S`.
    """
    async with asyncio.timeout(REDIS_S):
        return await reply
