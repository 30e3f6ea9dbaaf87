"""Forget readers: in Redis, and on the topics that keep the newest of each reader.

What has been sent cannot be unsent, but a message without a value (a tombstone) takes its place
where a topic is compacted, and tells consumers. It must come last. Whoever has sent something of a
reader looks afterwards whether anything was taken back meanwhile (one number, once a batch), and
sends tombstones for what Redis does not hold any more. So of who erases and who sends, one sees the
other, whatever the order.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping

from schemas.topics import Topics
from worker.emitter import Emitter
from worker.erasure_store import ErasureStore


class Erasures:
    """Forget readers, and take back what was sent of them.

    log_features: whether what pages were ranked by is sent, too.
    """

    def __init__(
        self,
        store: ErasureStore,
        emitter: Emitter,
        topics: Topics,
        *,
        log_features: bool = False,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._store = store
        self._emitter = emitter
        self._topics = topics
        self._of_pages = [topics.recommendations]
        if log_features:
            self._of_pages.append(topics.served_features)
        self._clock_ms = clock_ms
        self._has_labels = False
        self.num_withdrawals = 0
        """How often something has been taken back, as far as is known here."""

    async def take(self, times_ms: Mapping[str, int]) -> set[str]:
        """Forget what these readers did up to these times; return who has come back since.

        Their profiles and pages are to be made anew.
        """
        left = await self._store.erase(times_ms, self._clock_ms())
        # Labels have a topic only where readers fill in forms.
        self._has_labels = self._has_labels or await asyncio.to_thread(
            self._emitter.has_topic, self._topics.reader_labels
        )
        for user_id, time_ms in times_ms.items():
            self._take_back([self._topics.profiles, *self._of_pages], [user_id])
            if self._has_labels:
                self._take_back([self._topics.reader_labels], [user_id])
            if user_id not in left.preferences:
                # Dated as the erasure, so that it is of before it, as what it lifts.
                self._emitter.send_tombstone(self._topics.preferences, user_id, time_ms)
        return left.history

    async def drop_profiles(self, user_ids: Collection[str]) -> None:
        """Take back the profiles of readers who object to them."""
        if user_ids:
            await self._store.drop_profiles(list(user_ids))
            self._take_back([self._topics.profiles], user_ids)

    async def look_again(
        self, user_ids: Iterable[str], bygone: Collection[str], num_withdrawals: int
    ) -> None:
        """Take back what was sent of readers who were erased meanwhile.

        All that was sent has been delivered. user_ids: of whom something was sent. bygone: of whom
        something was not used because they had been erased; an earlier attempt may have sent it.
        num_withdrawals: as it was before anything was read.
        """
        suspects = set(bygone)
        self.num_withdrawals = await self._store.num_withdrawals()
        if self.num_withdrawals != num_withdrawals:
            suspects.update(user_ids)
        if not suspects:
            return
        failures_before = self._emitter.num_failures
        without_profile, without_page = await self._store.without(sorted(suspects))
        self._take_back([self._topics.profiles], without_profile)
        self._take_back(self._of_pages, without_page)
        await self._emitter.delivered(failures_before)

    def _take_back(self, topics: Iterable[str], user_ids: Iterable[str]) -> None:
        for user_id in user_ids:
            for topic in topics:
                self._emitter.send_tombstone(topic, user_id)
