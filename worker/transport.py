"""A Faust transport that fetches with librdkafka and delivers what it fetched in chunks.

An event costs Faust the same whether it stands for one click or for a fetched chunk of
thousands. Faust finds this transport by its URL scheme, `chunked://`, through the
`faust.transports` entry point.

Offsets are committed by our own account, not by Faust's acknowledgements: Faust acknowledges an
event when its agent raises, is cancelled or is closed, all of which would lose clicks.

Written against faust-streaming 0.15.3 (pinned in pyproject.toml), whose internals it overrides.
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any, ClassVar, NoReturn, cast

from confluent_kafka import KafkaException
from faust.serializers import codecs
from faust.tables import TableManager
from faust.transport import base
from faust.transport.consumer import Consumer as FaustConsumer
from faust.types import TP, ConsumerMessage

from worker.chunks import Account, Chunk, Place
from worker.fetching import Fetching

CODEC = "frontpage-chunk"

SETTLED_S = 0.05
"""When nothing more came for so long, and all that came is stored, that is committed."""

SETTLED_REST_S = 0.5
"""Between two such commits: where clicks are few each would be one."""

REVOKED_COMMIT_S = 3.0
"""How long partitions that are taken away wait for their last commit."""

logger = logging.getLogger(__name__)


class _ChunkCodec(codecs.Codec):
    """Hand the chunk on: Faust's own decoding would commit past what it cannot decode."""

    def _loads(self, s: Any) -> Any:
        return s

    def _dumps(self, s: Any) -> Any:
        return s


codecs.register(CODEC, _ChunkCodec())


class Consumer(FaustConsumer):
    """Deliver chunks and commit what is stored."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._account = Account()
        self._fetching: Fetching | None = None
        self._assigned: set[TP] = set()
        # Counts rebalances: what was fetched before one is not ours any more.
        self._epoch = 0
        self._committing = asyncio.Lock()
        # Whether anything was handed out since the last commit of all that had been.
        self._is_unsettled = False
        self._settled_at = -math.inf

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Join the group, for these topics."""
        if self._fetching is None:
            app = cast("Any", self.app)
            self._fetching = Fetching(
                app.consumer_config,
                self._on_revoked,
                self._on_assigned,
                most_records=app.conf.broker_max_poll_records,
                hung_s=app.conf.broker_session_timeout,
                stage=app.metrics.stage,
            )
        self._fetching.start(topics)

    async def on_stop(self) -> None:
        """Commit what is stored, and leave the group."""
        await super().on_stop()
        if self._fetching is not None:
            await self._fetching.stop()

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """Fetch, and yield one message per topic that had something."""
        await self._flow()
        if self._fetching is None or self.should_stop:
            return
        wait_s = min(timeout, SETTLED_S) if self._is_unsettled else timeout
        fetched = await self._fetching.take(wait_s)
        if not fetched and self._is_unsettled:
            await self._settle()
        epoch = self._epoch
        for topic, records in fetched.items():
            # Of a new assignment something may be there before Faust is ready for it.
            await self._flow()
            if epoch != self._epoch or self.should_stop:
                return  # a rebalance came between: it is all fetched again, by whoever has it
            chunk = Chunk(topic, records)
            self._account.hand_out(chunk)
            self._is_unsettled = True
            place = TP(topic, records[-1].partition)
            # Faust would drop what lies before the last offset it saw.
            self._read_offset[place] = None
            yield place, self._chunk_message(place, chunk)

    async def _settle(self) -> None:
        """Commit, if all that was handed out is stored."""
        now = time.monotonic()
        if now - self._settled_at >= SETTLED_REST_S and self._account.is_settled():
            self._settled_at = now
            # Once: brokers that do not answer are asked again at the usual time.
            self._is_unsettled = False
            await self.commit()

    async def _flow(self) -> None:
        if not self.flow_active:
            await self.wait(cast("Any", self.can_resume_flow))

    def _chunk_message(self, tp: TP, chunk: Chunk) -> ConsumerMessage:
        last = chunk.records[-1]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000.0,
            0,
            None,
            None,
            cast("Any", chunk),
            None,
            None,
            None,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    def on_buffer_full(self, tp: TP) -> None:
        """Fetch no more of a topic for now."""
        if self._fetching is not None:
            self._fetching.set_full(tp.topic, True)

    def on_buffer_drop(self, tp: TP) -> None:
        """Go on with a topic."""
        if self._fetching is not None:
            self._fetching.set_full(tp.topic, False)

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:  # noqa: ARG002
        """Commit what is stored, of all topics; return whether anything was committed."""
        async with self._committing:
            ends = self._account.due()
            if not ends or self._fetching is None:
                return False
            epoch = self._epoch
            try:
                await self._fetching.commit(ends)
            except KafkaException as error:
                # It stays due. After a rebalance it is somebody else's, and not.
                logger.info("no commit: %s", error.args[0].name())
                return False
            if epoch == self._epoch:
                self._account.committed(ends)
            return True

    async def _on_revoked(self, revoked: set[Place]) -> None:
        """Commit what is stored, then begin a new account.

        What is still in progress is not waited for: it is delivered again, to this worker or
        another, and storing it twice changes nothing.
        """
        self.app.on_rebalance_start()
        try:
            async with asyncio.timeout(REVOKED_COMMIT_S):
                await self.commit()
        except TimeoutError:
            logger.warning("partitions were given away without a commit")
        self._begin_anew()
        await self.on_partitions_revoked({TP(*place) for place in revoked})
        self._assigned = set()

    async def _on_assigned(self, assigned: set[Place]) -> None:
        if not self.app.rebalancing:
            self.app.on_rebalance_start()
        self._begin_anew()
        self._assigned = {TP(*place) for place in assigned}
        # Only compared with what Faust was given before.
        cast("Any", self.app).consumer_generation_id = self._epoch
        await self.on_partitions_assigned(set(self._assigned), self._epoch)

    def _begin_anew(self) -> None:
        self._epoch += 1
        self._account.forget()

    def has_unstored(self, topic: str) -> bool:
        """Tell whether chunks of a topic are handed out and not stored yet."""
        return self._account.has_unstored(topic)

    def assignment(self) -> set[TP]:
        """Return the partitions that this worker has."""
        return set(self._assigned)

    def highwater(self, tp: TP) -> int:
        """Return the end of a partition, as last heard of; negative before."""
        return -1 if self._fetching is None else self._fetching.highwater(tp)

    def close(self) -> None:
        """Faust says so when a rebalance finds it stopping: `on_stop` leaves the group."""

    async def perform_seek(self) -> None:
        """Stay: where a new assignment begins is where it was committed."""

    # What Faust asks of a consumer for tables, transactions and single messages: there are none.

    async def seek_to_committed(self) -> NoReturn:
        """Positions are never set back."""
        raise NotImplementedError

    async def seek_wait(self, partitions: Mapping[TP, int]) -> NoReturn:
        """Positions are never set back."""
        raise NotImplementedError

    async def position(self, tp: TP) -> NoReturn:
        """Of tables."""
        raise NotImplementedError

    async def earliest_offsets(self, *partitions: TP) -> NoReturn:
        """Of tables."""
        raise NotImplementedError

    async def highwaters(self, *partitions: TP) -> NoReturn:
        """Of tables."""
        raise NotImplementedError

    async def create_topic(self, *args: Any, **kwargs: Any) -> NoReturn:
        """A misspelt topic is an error, not a new topic."""
        raise NotImplementedError

    def topic_partitions(self, topic: str) -> NoReturn:
        """Of tables."""
        raise NotImplementedError

    def key_partition(self, topic: str, key: Any, partition: Any = None) -> NoReturn:
        """Faust sends nothing."""
        raise NotImplementedError

    async def _commit(self, offsets: Mapping[TP, int]) -> NoReturn:
        raise NotImplementedError

    async def _seek(self, partition: TP, offset: int) -> NoReturn:
        raise NotImplementedError

    async def _getmany(self, active_partitions: Any, timeout: float) -> NoReturn:
        raise NotImplementedError

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)

    def _to_message(self, tp: TP, record: Any) -> NoReturn:
        raise NotImplementedError

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:  # noqa: ARG002
        return iter(())


class NoTables(TableManager):
    """Do not wait a second for tables that nobody is going to define."""

    async def on_start(self) -> None:
        """Do the rest of what Faust does."""
        await self._update_channels()
        await self.recovery.start()


class NoProducer(base.Producer):
    """Faust sends nothing: see `worker/emitter.py`."""

    async def flush(self) -> None:
        """Nothing is under way."""


class Transport(base.Transport):
    """librdkafka, fetching chunks."""

    Consumer: ClassVar[type[Consumer]] = Consumer
    Producer: ClassVar[type[NoProducer]] = NoProducer
    default_port = 9092
    driver_version = "librdkafka"
