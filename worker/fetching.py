"""Fetch from Kafka with librdkafka, in a thread of its own.

librdkafka fetches ahead and keeps its membership of the group alive in C, whatever Python is busy
with. The thread here hands on what has come and then waits until that is taken, so that the rest
piles up where it costs nothing. It alone calls the consumer: with confluent-kafka 2.16 a call from
another thread waits for as long as this one polls.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from schemas.errors import UnavailableError
from worker.chunks import Place, Record

POLL_S = 0.1
ALIVE_S = 0.5
STOP_S = 5.0

Rebalanced = Callable[[set[Place]], Awaitable[None]]

logger = logging.getLogger(__name__)


class Fetching:
    """A member of a consumer group whose messages are awaited on an event loop.

    config: of librdkafka's consumer. on_revoked, on_assigned: run on the loop; the group waits for
    them. most_records: fetched at once. hung_s: after a loop has not turned for so long its member
    asks for nothing more, and loses its partitions to others. stage: times `fetch` and `commit`.
    """

    def __init__(
        self,
        config: dict[str, Any],
        on_revoked: Rebalanced,
        on_assigned: Rebalanced,
        *,
        most_records: int,
        hung_s: float,
        stage: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        self._consumer = Consumer({**config, "error_cb": _on_error})
        self._on_revoked = on_revoked
        self._on_assigned = on_assigned
        self._most_records = most_records
        self._hung_s = hung_s
        self._stage = stage
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="fetching", daemon=True)
        self._stopping = self._stopped = False
        self._fault: BaseException | None = None
        self._changed = threading.Condition()
        self._held: dict[str, list[Record]] = {}
        self._full: set[str] = set()
        self._paused: set[str] = set()
        self._rebalances = 0
        self._tasks: deque[tuple[Callable[[], Any], asyncio.Future[Any]]] = deque()
        self._ends: dict[Place, int] = {}
        self._arrived = asyncio.Event()
        self._alive_at = time.monotonic()

    def start(self, topics: Iterable[str]) -> None:
        """Join the group. Called again, it takes other topics."""
        subscribe = partial(
            self._consumer.subscribe,
            sorted(topics),
            on_assign=self._assign,
            on_revoke=self._revoke,
            on_lost=self._revoke,
        )
        if self._thread.is_alive():
            self._ask(subscribe)
        else:
            subscribe()
            self._be_alive()
            self._thread.start()

    async def stop(self) -> None:
        """Leave the group."""
        self._stopping = True
        self._notify()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, STOP_S)

    async def take(self, timeout_s: float) -> dict[str, list[Record]]:
        """Wait for messages; return all that have come, by topic, but those of full topics.

        Raises:
            UnavailableError: when nothing more can be fetched, ever.
        """
        found = self._pop()
        if not found:
            try:
                await asyncio.wait_for(self._arrived.wait(), timeout_s)
            except TimeoutError:
                return {}
            found = self._pop()
        if self._fault is not None:
            raise UnavailableError(f"Kafka: {self._fault}")
        return found

    def set_full(self, topic: str, full: bool) -> None:
        """Say whether there is no room for more of a topic. If so it is paused; others go on."""
        with self._changed:
            (self._full.add if full else self._full.discard)(topic)
            self._changed.notify_all()
        if not full:
            self._arrived.set()

    async def commit(self, ends: dict[Place, int]) -> None:
        """Commit the next offset of each partition.

        Raises:
            KafkaException: when the brokers refuse it, or do not answer.
        """
        offsets = [TopicPartition(*place, end) for place, end in ends.items()]

        def commit() -> Any:
            # Timed here: before it the thread may have waited for messages.
            with self._stage("commit"):
                return self._consumer.commit(offsets=offsets, asynchronous=False)

        for each in await self._ask(commit) or ():
            if each.error is not None:
                raise KafkaException(each.error)

    def highwater(self, place: Place) -> int:
        """Return the end of a partition as last heard of, negative before anything was."""
        return self._ends.get(place, -1)

    def _ask(self, task: Callable[[], Any]) -> asyncio.Future[Any]:
        """Have the thread do something; return what becomes of it."""
        asked: asyncio.Future[Any] = self._loop.create_future()
        with self._changed:
            if self._stopped:
                asked.set_exception(KafkaException(KafkaError(KafkaError._STATE)))
            else:
                self._tasks.append((task, asked))
                self._changed.notify_all()
        return asked

    def _do_tasks(self) -> None:
        while self._tasks:
            task, asked = self._tasks.popleft()
            try:
                self._tell(asked, task(), None)
            except KafkaException as error:
                self._tell(asked, None, error)

    def _tell(self, asked: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
        def tell() -> None:
            if asked.done():  # nobody waits for it any more
                return
            if error is None:
                asked.set_result(result)
            else:
                asked.set_exception(error)

        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(tell)

    def _pop(self) -> dict[str, list[Record]]:
        self._arrived.clear()
        with self._changed:
            found = {topic: held for topic, held in self._held.items() if topic not in self._full}
            for topic in found:
                del self._held[topic]
            self._changed.notify_all()
        return found

    def _be_alive(self) -> None:
        self._alive_at = time.monotonic()
        if not self._stopping:
            self._loop.call_later(ALIVE_S, self._be_alive)

    def _run(self) -> None:
        try:
            while not self._stopping:
                if time.monotonic() - self._alive_at > self._hung_s:
                    time.sleep(POLL_S)
                    continue
                self._do_tasks()
                self._poll()
                self._wait_until_taken()
                self._pause_and_resume()
        except Exception as error:
            self._fault = error
            self._wake()
        finally:
            # After a fault, too: others need not wait for the session to time out.
            self._stopping = True
            with self._changed:
                self._stopped = True
            self._do_tasks()
            self._consumer.close()

    def _poll(self) -> None:
        # Waiting for a whole batch would make a click wait where traffic is light.
        first = self._consumer.poll(POLL_S)
        if first is not None:
            with self._stage("fetch"):
                self._hold(self._fetch(first))

    def _fetch(self, first: Message) -> list[Message]:
        rebalances = self._rebalances
        rest = self._consumer.consume(self._most_records - 1, 0)
        if rebalances == self._rebalances:
            return [first, *rest]
        # In the middle of it partitions were taken away, and perhaps given again: which messages
        # are of before cannot be told. All of them are fetched again by whoever has them now.
        self._begin_at_committed(self._consumer.assignment())
        return []

    def _begin_at_committed(self, partitions: list[TopicPartition]) -> None:
        """Fetch from where was committed, as soon as brokers say where that is.

        What was fetched ahead is dropped. A seek in place of it would fail for a partition that
        has not begun yet, and asking where was committed while no broker answers.
        """
        if not partitions:
            return
        places = [TopicPartition(each.topic, each.partition) for each in partitions]
        self._consumer.assign(places)
        # librdkafka remembers what was paused before: nobody else would resume it.
        self._consumer.resume(places)
        self._paused = set()

    def _hold(self, messages: list[Message]) -> None:
        if not messages:
            return
        records = []
        for message in messages:
            if (error := message.error()) is not None:
                _on_error(error)
            else:
                records.append(record_of(message))
        for place in {(record.topic, record.partition) for record in records}:
            ends = self._consumer.get_watermark_offsets(TopicPartition(*place), cached=True)
            self._ends[place] = int(ends[1]) if ends else -1
        with self._changed:
            for record in records:
                self._held.setdefault(record.topic, []).append(record)
        self._wake()

    def _wake(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._arrived.set)

    def _wait_until_taken(self) -> None:
        """Wait until the loop has taken what it has room for."""
        self._work_until(lambda: self._held.keys() <= self._full)

    def _work_until(self, is_done: Callable[[], bool]) -> None:
        """Do what is asked for, until something is done, or all is to end."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._tasks or self._stopping or is_done())
                if not self._tasks:
                    return
            self._do_tasks()

    def _pause_and_resume(self) -> None:
        with self._changed:
            held = set(self._held)
        assigned = self._consumer.assignment() if held != self._paused else []
        for topic in held ^ self._paused:
            partitions = [each for each in assigned if each.topic == topic]
            (self._consumer.pause if topic in held else self._consumer.resume)(partitions)
        self._paused = held

    def _assign(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self._rebalances += 1
        self._call(self._on_assigned, partitions)
        self._begin_at_committed(partitions)

    def _revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self._rebalances += 1
        with self._changed:
            self._held.clear()
            # What was full is emptied, and nobody says so.
            self._full.clear()
        self._call(self._on_revoked, partitions)

    def _call(self, rebalanced: Rebalanced, partitions: list[TopicPartition]) -> None:
        """Have the loop do something, and wait for it, however long it takes.

        What is fetched afterwards must not meet an account of before.
        """
        places = {(each.topic, each.partition) for each in partitions}

        async def call() -> None:
            await rebalanced(places)

        done = asyncio.run_coroutine_threadsafe(call(), self._loop)
        done.add_done_callback(lambda _: self._notify())
        self._work_until(done.done)  # a last commit, for one
        if done.done():
            done.result()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()


def record_of(message: Message) -> Record:
    """Return a message as the worker takes it."""
    found: Any = message
    return Record(
        found.topic(),
        found.partition(),
        found.offset(),
        found.timestamp()[1],
        found.key(),
        found.value(),
        found.headers(),
    )


def _on_error(error: KafkaError) -> None:
    # The text of an error names hosts, topics and partitions; never a message.
    logger.warning("Kafka: %s", error.str())
