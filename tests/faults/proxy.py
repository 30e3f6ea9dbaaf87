"""A TCP proxy that a test puts before a server: to slow it down, cut it off, or swap it."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

from worker.local.server import HOST

CHUNK_BYTES = 65_536
STOP_S = 10.0


class Proxy:
    """Hand bytes on between clients and a target that may change. Methods may come from any thread.

    delay_s: how long each answer is held back; it does not slow down the answer after it any more
    than that one.
    """

    def __init__(self, target_port: int) -> None:
        self.port = 0
        self.delay_s = 0.0
        self._target_port = target_port
        self._is_open = True
        self._connections: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()

    def cut(self) -> None:
        """Drop every connection and refuse new ones, as from a machine that is gone."""
        self._call(self._cut)

    def point_to(self, target_port: int) -> None:
        """Drop every connection; new ones lead to that port."""
        self._target_port = target_port
        self._is_open = True
        self._call(self._drop)

    def mend(self) -> None:
        """Take connections again."""
        self._is_open = True

    def _call(self, function: object) -> None:
        async def call() -> None:
            function()  # type: ignore[operator]

        asyncio.run_coroutine_threadsafe(call(), self._loop).result(STOP_S)

    def _cut(self) -> None:
        self._is_open = False
        self._drop()

    def _drop(self) -> None:
        for writer in list(self._connections):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            if not self._is_open:
                return
            answers, requests = await asyncio.open_connection(HOST, self._target_port)
            self._connections.add(requests)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._requests(reader, requests))
                    group.create_task(self._answers(answers, writer))
            finally:
                self._connections.discard(requests)
                requests.transport.abort()
        except* OSError:
            pass  # one side is gone: so is the other
        finally:
            self._connections.discard(writer)
            writer.transport.abort()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK_BYTES):
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError


@contextlib.contextmanager
def proxy(target_port: int) -> Iterator[Proxy]:
    """Give a running proxy before a port of this machine."""
    found = Proxy(target_port)
    loop = found._loop
    server = loop.run_until_complete(asyncio.start_server(found._serve, HOST, 0))
    found.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield found
    finally:
        asyncio.run_coroutine_threadsafe(_close(found, server), loop).result(STOP_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _close(found: Proxy, server: asyncio.Server) -> None:
    server.close()
    found._drop()
    # They end by themselves: one that is cancelled would be logged as an error.
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)
