"""A gate between work that many do at once and a change that nobody may see half of."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Gate:
    """Let work pass side by side, and a change alone.

    Who wants to make a change waits for the work in progress; work that comes meanwhile waits for
    the change, or a busy worker would never get to it.
    """

    def __init__(self) -> None:
        self._num_working = 0
        self._is_changing = False
        self._moved = asyncio.Condition()

    @asynccontextmanager
    async def work(self) -> AsyncIterator[None]:
        """Pass together with others."""
        async with self._moved:
            await self._moved.wait_for(lambda: not self._is_changing)
            self._num_working += 1
        try:
            yield
        finally:
            self._num_working -= 1
            async with self._moved:
                self._moved.notify_all()

    @asynccontextmanager
    async def change(self) -> AsyncIterator[None]:
        """Pass alone."""
        async with self._moved:
            await self._moved.wait_for(lambda: not self._is_changing)
            self._is_changing = True
        try:
            async with self._moved:
                await self._moved.wait_for(lambda: not self._num_working)
            yield
        finally:
            self._is_changing = False
            async with self._moved:
                self._moved.notify_all()
