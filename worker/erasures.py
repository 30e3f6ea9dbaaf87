"""Forget readers: in Redis, and on the topics that keep the newest of each reader.

What has been sent cannot be unsent, but a message without a value (a tombstone) takes its place
where a topic is compacted, and tells consumers. It must come last. Whoever has sent something of a
reader looks afterwards whether anything was taken back meanwhile (one number, once a batch), and
sends tombstones for what Redis does not hold any more. So of who erases and who sends, one sees the
other, whatever the order.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple, Protocol

from schemas.topics import Topics
from worker.emitter import ANY_PARTITION, Emitter
from worker.erasure_store import ErasureStore


class OfReader(Protocol):
    """Whatever is sent of a reader."""

    @property
    def user_id(self) -> str:
        """Return whose it is."""


class Tombstone(NamedTuple):
    """A message without a value; see `Emitter.send_tombstone`."""

    topic: str
    user_id: str
    time_ms: int = 0
    partition: int = ANY_PARTITION


class Erasures:
    """Forget readers, and take back what was sent of them.

    connect: returns a producer for tombstones alone. Workers read some of them, and may not be able
    to read what is compressed. log_features: whether what pages were ranked by is sent, too.
    """

    def __init__(
        self,
        store: ErasureStore,
        connect: Callable[[], Emitter],
        topics: Topics,
        *,
        log_features: bool = False,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._store = store
        self._connect = connect
        self._topics = topics
        self._of_pages = [topics.recommendations]
        if log_features:
            self._of_pages.append(topics.served_features)
        self._clock_ms = clock_ms
        self.num_withdrawals = 0
        """How often something has been taken back, as far as is known here."""

    async def take(self, times_ms: Mapping[str, int]) -> set[str]:
        """Forget what these readers did up to these times; return who has come back since.

        Their profiles and pages are to be made anew.
        """
        left = await self._store.erase(times_ms, self._clock_ms())
        own = [self._topics.profiles, *self._of_pages]
        tombstones = [Tombstone(topic, user_id) for user_id in times_ms for topic in own]
        # Of what others send on every partition: they need not choose it as we do. Labels have a
        # topic only where readers fill in forms.
        known = await asyncio.to_thread(self._emitter.partitions)
        for partition in known.get(self._topics.reader_labels, ()):
            tombstones += [
                Tombstone(self._topics.reader_labels, user_id, partition=partition)
                for user_id in times_ms
            ]
        for partition in known.get(self._topics.preferences, ()):
            # Dated as the erasure, so that it is of before it, as what it lifts.
            tombstones += [
                Tombstone(self._topics.preferences, user_id, time_ms, partition)
                for user_id, time_ms in times_ms.items()
                if user_id not in left.preferences
            ]
        await self._send(tombstones)
        return left.history

    async def drop_profiles(self, user_ids: Collection[str]) -> None:
        """Take back the profiles of readers who object to them."""
        if user_ids:
            await self._store.drop_profiles(list(user_ids))
            await self._send([Tombstone(self._topics.profiles, user_id) for user_id in user_ids])

    async def look_again(
        self, sent: Sequence[OfReader], bygone: Collection[str], num_withdrawals: int
    ) -> None:
        """Take back what was sent of readers who were erased meanwhile.

        sent: what has been delivered. bygone: of whom something was not used because they had been
        erased; an earlier attempt may have sent it. num_withdrawals: as it was before anything was
        read.
        """
        if not sent and not bygone:
            return
        suspects = set(bygone)
        self.num_withdrawals = await self._store.num_withdrawals()
        if self.num_withdrawals != num_withdrawals:
            suspects.update(update.user_id for update in sent)
        if suspects:
            no_profile, no_page = await self._store.without(sorted(suspects))
            await self._send(
                [Tombstone(self._topics.profiles, user_id) for user_id in no_profile]
                + [Tombstone(topic, user_id) for user_id in no_page for topic in self._of_pages]
            )

    async def _send(self, tombstones: Sequence[Tombstone]) -> None:
        """Send tombstones and wait for their delivery."""
        if tombstones:
            failures_before = self._emitter.num_failures
            for tombstone in tombstones:
                self._emitter.send_tombstone(*tombstone)
            await self._emitter.delivered(failures_before)

    @cached_property
    def _emitter(self) -> Emitter:
        return self._connect()
