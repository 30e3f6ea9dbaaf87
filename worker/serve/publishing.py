"""Messages to Kafka, each request's with those of all that wait: one flush for all of them."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from schemas.errors import UnavailableError
from worker.emitter import Emitter
from worker.serve.problems import Kind, ProblemError
from worker.tracing import OwnHeaders

MAX_WAITING = 50_000
"""Messages; a request beyond is told to come again."""

DELIVERY_S = 8.0
"""When a message that has not arrived is given up."""

ANSWER_S = 10.0
"""How long a request waits for the brokers. What it sent may arrive all the same: sending it again
does no harm."""


class Outgoing(NamedTuple):
    """A message to be published."""

    topic: str
    key: str
    value: bytes
    headers: OwnHeaders | None = None


class Publisher:
    """Publish, and know when the brokers have acknowledged it.

    What is sent while a flush is on its way goes with the next: under load a flush that waited
    for everybody would never end.
    """

    def __init__(self, emitter: Emitter) -> None:
        self._emitter = emitter
        self._waiting: list[tuple[Sequence[Outgoing], asyncio.Future[None]]] = []
        self._num_waiting = 0
        self._has_work = asyncio.Event()

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Return when the brokers have acknowledged all of them.

        Raises:
            ProblemError: when too many wait already.
            UnavailableError: when some were not acknowledged.
        """
        if self._num_waiting + len(messages) > MAX_WAITING:
            raise ProblemError(Kind.BUSY)
        arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((messages, arrived))
        self._num_waiting += len(messages)
        self._has_work.set()
        try:
            async with asyncio.timeout(ANSWER_S):
                await arrived
        except TimeoutError as error:
            raise UnavailableError("Kafka: no acknowledgement in time") from error

    async def run(self) -> None:
        """Send what waits, for as long as the server runs."""
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            batch, self._waiting, self._num_waiting = self._waiting, [], 0
            error = await self._send([each for messages, _ in batch for each in messages])
            for _, arrived in batch:
                if arrived.done():  # it has waited too long, or the client has gone
                    continue
                if error is None:
                    arrived.set_result(None)
                else:
                    arrived.set_exception(error)

    async def _send(self, messages: Sequence[Outgoing]) -> UnavailableError | None:
        failures_before = self._emitter.num_failures
        try:
            for message in messages:
                self._emitter.send(*message)
            await self._emitter.delivered(failures_before)
        except UnavailableError as error:
            return error
        return None
