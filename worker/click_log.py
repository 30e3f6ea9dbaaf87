"""The click log in Redis: what every worker counts, in one order, each click once.

A click is put on the log by the same script that stores the reader's history, and only when it
is new to that history: a replayed click, or one whose batch is done again, is not there twice.
Every worker reads the log and holds the same statistics. A checkpoint of them is written now and
then by whoever is first; the log is cut behind the checkpoint before it. So a new worker loads
the checkpoint, reads the rest, and agrees.

On a Redis Cluster the log lies on another node than the reader: there the clicks are put on it
after they are stored. A worker that dies or loses the node between the two leaves its batch
uncounted; a command sent again by the client may count it twice.
"""

import asyncio
import logging
import math
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from redis.asyncio import RedisCluster

from schemas import keys
from worker.catalogue import Catalogue
from worker.recommend.checkpoint import CheckpointError, pack
from worker.recommend.item_model import ToFit, fit_item_model
from worker.recommend.statistics import Statistics
from worker.redis_client import Client, get_many

ENTRIES_PER_READ = 64
MAX_ENTRIES = 10_000
"""Most entries of the log, should no worker write checkpoints."""

READERS_PER_ENTRY = 512
"""Most that are put on the log at once where that is a call of its own."""

CHECKPOINT_ENTRIES = 2000
CHECKPOINT_S = 30.0
REST = 50.0
"""How much longer than a fit took the next one waits; a worker that catches up counts in seconds
what makes ten fits due, and has other things to do. A fit takes a core, for 0.1 s of 2,048
articles."""

LOCK_MS = 20_000
"""Nobody else writes a checkpoint for so long after one was begun."""

logger = logging.getLogger(__name__)


class _Fit(NamedTuple):
    """A fit under way: since when, how often articles had been renumbered by then, from what."""

    began: float
    renumbered: int
    counts: ToFit
    model: asyncio.Future[NDArray[np.float32]]


class ClickLog:
    """Keep a worker's statistics equal to everybody's.

    waits_for_fits: whether nothing goes on while the item model is fitted, whenever it is due.
    read_only: whether Redis is left as it is; for who only looks on.
    """

    def __init__(
        self,
        client: Client,
        statistics: Statistics,
        catalogue: Catalogue,
        ttl_ms: int,
        waits_for_fits: bool = False,
        read_only: bool = False,
    ) -> None:
        self._client = client
        self._statistics = statistics
        self._catalogue = catalogue
        self._ttl_ms = ttl_ms
        self._waits_for_fits = waits_for_fits
        self._read_only = read_only
        self._epoch: bytes | None = None
        self.found_nothing = False
        """Whether Redis held no statistics when these began: a new one, or one that was emptied."""
        self._position = "0-0"
        self._has_read = False
        """Whether an entry stood at the position when it was read."""
        self._checkpointed = "0-0"
        self._num_since = 0
        self._written_at = time.monotonic()
        self._fit: _Fit | None = None
        self._fit_after = -math.inf
        self._lock = asyncio.Lock()

    def look_in(self, catalogue: Catalogue) -> None:
        """Look articles up in another catalogue from now on."""
        self._catalogue = catalogue

    async def follow(self) -> None:
        """Count what has been put on the log since the last call; the first loads a checkpoint."""
        await self.follow_and_get([])

    async def follow_and_get(self, names: Sequence[str]) -> list[bytes | None]:
        """Follow, and return the values of keys, in the same round trip where that can be."""
        values: list[bytes | None]
        async with self._lock:
            *log, values = await self._read(names)
            while await self._count(*log):
                *log, _ = await self._read([])
        return values

    async def _read(self, names: Sequence[str]) -> list[Any]:
        """Return the epoch, how far the log has been cut off, entries, and values of other keys."""
        pipeline = self._client.pipeline(transaction=False)
        pipeline.get(keys.STATISTICS_EPOCH)
        pipeline.get(keys.LOG_TRIMMED)
        # From the entry on that was read last: what Redis has lost is missed by it.
        pipeline.xrange(keys.CLICK_LOG, min=self._position, count=ENTRIES_PER_READ + 1)
        if isinstance(self._client, RedisCluster) or not names:
            return [*await pipeline.execute(), await get_many(self._client, names)]
        pipeline.mget(names)
        return list(await pipeline.execute())

    async def _count(self, epoch: bytes | None, trimmed: bytes | None, found: list[Any]) -> bool:
        """Count entries that were read; tell whether there may be more."""
        if epoch is None and self._read_only:  # no worker has begun
            return False
        if epoch is None or epoch != self._epoch:
            await self._begin()
            return True
        if trimmed and _order(self._position) < _order(trimmed.decode()):
            await self._load()
            return True
        entries = [(entry_id.decode(), fields[b"clicks"]) for entry_id, fields in found]
        if entries and entries[0][0] == self._position:
            del entries[0]
        elif self._has_read and await self._has_lost_entries():
            return True
        for position, entry in entries:
            self._apply(entry)
            self._position, self._has_read = position, True
            self._num_since += 1
            if self._statistics.is_full:
                self._statistics.forget_oldest(self._catalogue.refs())
        await self._look_after_fit()
        return len(found) > ENTRIES_PER_READ

    async def _has_lost_entries(self) -> bool:
        """Begin anew if the entry read last is gone, but not those before it; tell whether so.

        Then Redis went back, as a replica does that had not got everything when it took over, and
        histories have lost the same clicks. An entry that was cut off the log went after those
        before it.
        """
        self._has_read = False
        before: Any = await self._client.xrevrange(keys.CLICK_LOG, max=self._position, count=1)
        if before:
            logger.warning(
                "Redis lost its latest writes: histories lack clicks of just before; stop the "
                "workers and run `frontpage rebuild --since` a minute before this"
            )
            await self._restart()
        return bool(before)

    async def _look_after_fit(self) -> None:
        """Fit the item model if it is due, beside what goes on, and for little of the time."""
        if self._waits_for_fits:
            if self._statistics.fit_is_due:
                counts = self._statistics.to_fit()
                # In a thread all the same, for the heartbeats' sake.
                self._statistics.install(await asyncio.to_thread(fit_item_model, counts), counts)
            return
        now = time.monotonic()
        if self._fit is not None:
            began, renumbered, counts, model = self._fit
            if not model.done():
                return
            self._fit = None
            if renumbered == self._statistics.num_renumbered:
                self._statistics.install(model.result(), counts)
            self._fit_after = now + REST * (now - began)
        if self._statistics.fit_is_due and now >= self._fit_after:
            counts = self._statistics.to_fit()
            # Seconds of the largest matrix: nobody waits for it.
            model = asyncio.get_running_loop().run_in_executor(None, fit_item_model, counts)
            self._fit = _Fit(now, self._statistics.num_renumbered, counts, model)

    async def _begin(self) -> None:
        """Begin with the statistics that Redis holds, or with none in an empty one."""
        if not self._read_only:
            new = uuid4().hex.encode()
            set_: Any = await self._client.set(keys.STATISTICS_EPOCH, new, nx=True, px=self._ttl_ms)
            self.found_nothing = bool(set_)
        if self._epoch is not None:
            logger.warning(
                "Redis came back empty: statistics begin anew, and histories hold what comes from "
                "now on; stop the workers and run `frontpage rebuild`"
            )
        self._epoch = cast("Any", await self._client.get(keys.STATISTICS_EPOCH))
        await self._restart()

    async def _restart(self) -> None:
        """Forget what was counted; load the checkpoint."""
        self._statistics.reset()
        self._position = self._checkpointed = "0-0"
        self._has_read = False
        await self._load()

    def _apply(self, entry: bytes) -> None:
        try:
            self._statistics.apply(entry, self._catalogue)
        except ValueError:
            logger.error("an entry of the click log is broken and was not counted")

    async def append(self, told: Iterable[bytes]) -> None:
        """Put clicks on the log that are stored already; on a cluster only."""
        entries = [entry for entry in told if entry]
        for start in range(0, len(entries), READERS_PER_ENTRY):
            entry = b"".join(entries[start : start + READERS_PER_ENTRY])
            await self._client.xadd(
                keys.CLICK_LOG, {"clicks": entry}, maxlen=MAX_ENTRIES, approximate=True
            )
        if entries:
            await self._client.pexpire(keys.CLICK_LOG, self._ttl_ms)

    async def checkpoint(self) -> bool:
        """Write a checkpoint if one is due and nobody else is at it; tell whether it was."""
        quiet = time.monotonic() - self._written_at < CHECKPOINT_S
        if not self._num_since or (quiet and self._num_since < CHECKPOINT_ENTRIES):
            return False
        if not await self._client.set(keys.CHECKPOINT_LOCK, b"1", nx=True, px=LOCK_MS):
            return False
        async with self._lock:
            position, num_since = self._position, self._num_since
            snapshot = self._statistics.snapshot()
        value = position.encode() + b" " + await asyncio.to_thread(pack, snapshot)
        await self._client.set(keys.CHECKPOINT, value, px=self._ttl_ms)
        behind, self._checkpointed = self._checkpointed, position
        self._num_since -= num_since
        self._written_at = time.monotonic()
        # Behind the checkpoint before this one: a worker may be loading that.
        await self._client.set(keys.LOG_TRIMMED, behind, px=self._ttl_ms)
        await self._client.xtrim(keys.CLICK_LOG, minid=behind, approximate=True)
        await self._client.pexpire(keys.STATISTICS_EPOCH, self._ttl_ms)
        return True

    async def _load(self) -> None:
        value: bytes | None = cast("Any", await self._client.get(keys.CHECKPOINT))
        if not value:
            # Nothing to load: read what is left.
            self._position = max(self._position, await self._trimmed(), key=_order)
            return
        position, _, dumped = value.partition(b" ")
        try:
            self._statistics.load(dumped)
        except CheckpointError as error:
            logger.warning("statistics start anew: %s", error)
            self._position = max(self._position, await self._trimmed(), key=_order)
            return
        self._position = self._checkpointed = position.decode()

    async def _trimmed(self) -> str:
        trimmed: bytes | None = cast("Any", await self._client.get(keys.LOG_TRIMMED))
        return trimmed.decode() if trimmed else "0-0"


def _order(position: str) -> tuple[int, int]:
    """Return a stream position as numbers that compare."""
    ms, _, number = position.partition("-")
    return int(ms), int(number or 0)
