"""A Faust transport that delivers each fetched chunk of a partition as one message.

An event costs Faust the same whether it stands for one click or for a fetched chunk of
thousands. Faust finds this transport by its URL scheme, `chunked://`, through the
`faust.transports` entry point.

Offsets are committed by our own account, not by Faust's acknowledgements: Faust acknowledges an
event when its agent raises, is cancelled or is closed, all of which would lose clicks. A chunk
counts only once `Chunk.stored` is set, and what is committed is the longest run of stored chunks.

Written against faust-streaming 0.15.3 (pinned in pyproject.toml), whose internals it overrides.
"""

from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar, cast

from faust.serializers import codecs
from faust.tables import TableManager
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

CODEC = "frontpage-chunk"


class Chunk:
    """Consecutive messages of one partition, as fetched.

    `records` are aiokafka's, in offset order. Call `set_stored` when everything that follows from
    them is in Redis and Kafka: only then may `next_offset` be committed.
    """

    __slots__ = ("next_offset", "partition", "records", "stored", "topic")

    def __init__(self, topic: str, partition: int, records: list[Any]) -> None:
        self.topic = topic
        self.partition = partition
        self.records = records
        self.next_offset: int = records[-1].offset + 1
        self.stored = False

    def set_stored(self) -> None:
        """Say that the chunk may be committed; what it held is let go."""
        self.stored = True
        self.records = []


class _ChunkCodec(codecs.Codec):
    """Hand the chunk on: Faust's own decoding would commit past what it cannot decode."""

    def _loads(self, s: Any) -> Any:
        return s

    def _dumps(self, s: Any) -> Any:
        return s


codecs.register(CODEC, _ChunkCodec())


class _ConsumerThread(driver.AIOKafkaConsumerThread):
    """Wait in a fetch as long as the settings say, where Faust has a number of its own."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = round(cast("Any", self.app).fetch_wait_s * 1000)
        return consumer


class Consumer(driver.Consumer):
    """Deliver chunks and commit what is stored."""

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._chunks: dict[TP, deque[Chunk]] = {}
        # Counts how often positions were set back. What was fetched under an earlier count is
        # dropped and fetched again: it may lie beyond clicks that are not stored yet.
        self._epoch = 0

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """Fetch, and yield one message per partition that had something."""
        if not self.flow_active:
            await self.wait(cast("Any", self.can_resume_flow))
        epoch = self._epoch
        records, active = await self._wait_next_records(timeout)
        if records is None or self.should_stop:
            return
        if not self.flow_active or epoch != self._epoch:
            await self._try_to_seek()
            return
        for tp, fetched in records.items():
            if not self.flow_active or epoch != self._epoch:
                return  # a rebalance came between; it sets the positions back itself
            if not fetched or not (
                active is None or tp in active or tp in self._buffered_partitions
            ):
                continue
            chunk = Chunk(tp.topic, tp.partition, list(fetched))
            self._chunks.setdefault(tp, deque()).append(chunk)
            # Faust would drop what lies before the last offset it saw, as after a topic was
            # made anew, and the account would wait for the dropped chunk for ever.
            self._read_offset[tp] = None
            self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
            yield tp, self._chunk_message(tp, chunk)

    def _chunk_message(self, tp: TP, chunk: Chunk) -> ConsumerMessage:
        last = chunk.records[-1]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000.0,
            last.timestamp_type,
            None,
            None,
            cast("Any", chunk),
            None,
            None,
            None,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (
            tp for tp in list(self._chunks) if topics is None or tp in topics or tp.topic in topics
        )

    def _new_offset(self, tp: TP) -> int | None:
        """Return the offset after the longest run of stored chunks; None when nothing is new."""
        chunks = self._chunks.get(tp)
        offset = None
        while chunks and chunks[0].stored:
            offset = chunks.popleft().next_offset
        if offset is not None:
            # Faust's own bookkeeping of acknowledged offsets is not read, but would grow.
            self._acked[tp].clear()
            self._acked_index[tp].clear()
        return offset

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Ignore gaps: Faust would take the offsets inside a chunk for missing ones."""

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commit what is stored, then forget the partitions' chunks.

        What is still in progress is not waited for: it is delivered again, to this worker or
        another, and storing it twice changes nothing.
        """
        await self.commit()
        for tp in revoked:
            self._chunks.pop(tp, None)
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Start the account of every partition afresh."""
        self._forget_chunks()
        await super().on_partitions_assigned(assigned, generation_id)

    async def perform_seek(self) -> None:
        """Set positions back to what was committed; to the beginning where nothing was."""
        self._forget_chunks()
        await super().perform_seek()
        never_committed = driver.ensure_aiokafka_TPset(
            tp for tp in self.assignment() if not self._committed_offset[tp]
        )
        if never_committed:
            # aiokafka leaves these where they are, which may be beyond what was dropped.
            await self._thread.seek_to_beginning(*never_committed)

    async def _try_to_seek(self) -> None:
        try:
            await self.perform_seek()
        except Exception as error:
            # In the middle of a rebalance nothing is assigned. What follows it seeks by itself.
            self.log.info("no seek during a rebalance: %s", type(error).__name__)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Do not look for stalls: Faust's look fails while a partition has no position yet."""

    def _forget_chunks(self) -> None:
        self._epoch += 1
        self._chunks.clear()

    def has_unstored(self, topic: str) -> bool:
        """Tell whether chunks of a topic are handed out and not stored yet."""
        return any(
            tp.topic == topic and not all(chunk.stored for chunk in chunks)
            for tp, chunks in self._chunks.items()
        )


class NoTables(TableManager):
    """Do not wait a second for tables that nobody is going to define."""

    async def on_start(self) -> None:
        """Do the rest of what Faust does."""
        await self._update_channels()
        await self.recovery.start()


class Transport(driver.Transport):
    """The aiokafka transport with the chunk-delivering consumer."""

    Consumer: ClassVar[type[Consumer]] = Consumer
