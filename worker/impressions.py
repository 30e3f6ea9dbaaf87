"""Impressions: what readers were shown, counted and learned from, each once and in every worker.

Like clicks: the script that stores what a reader was shown puts on the click log what is new in it,
so that an impression that is replayed, or whose batch is done again, does not count twice.
"""

import asyncio
from collections.abc import Mapping

from schemas.history import before, is_history, merge
from schemas.showings import MAX_SHOWINGS
from worker.batch_lessons import LESSONS, BatchLessons
from worker.bygone import Sieve
from worker.click_log import ClickLog
from worker.counting import counted_impressions
from worker.intake import PackedImpression
from worker.profiling import objections
from worker.reader_store import Held, ReaderStore, ShownUpdate
from worker.renewals import READERS_PER_PART


class Impressions:
    """Count impressions, learn from them, and keep what each reader was shown lately."""

    def __init__(self, lessons: BatchLessons, readers: ReaderStore, click_log: ClickLog) -> None:
        self._lessons = lessons
        self._readers = readers
        self._click_log = click_log

    async def take(
        self,
        impressions: Mapping[str, Mapping[bytes, PackedImpression]],
        news_ms: int,
        sieve: Sieve,
    ) -> None:
        """Store what readers were shown, by reader and impression.

        news_ms: the moment that articles are seen from, epoch milliseconds. sieve: leaves out
        what was shown to readers before they were erased.
        """
        pending = dict(impressions)
        while pending:
            get = self._click_log.follow_and_get
            held = await self._readers.read(list(pending), [], get)
            pending = sieve.impressions(pending, held.marks)
            updates = await self._made(pending, held, news_ms)
            lost = set(await self._readers.write_showings(updates))
            if self._readers.is_cluster:
                stored = (each for index, each in enumerate(updates) if index not in lost)
                await self._click_log.append(update.told for update in stored)
            # Once more for those whom another worker changed meanwhile.
            again = [updates[index].user_id for index in sorted(lost)]
            pending = {user_id: pending[user_id] for user_id in again}

    async def _made(
        self, pending: Mapping[str, Mapping[bytes, PackedImpression]], held: Held, news_ms: int
    ) -> list[ShownUpdate]:
        """Return what is to be stored, made part by part: clicks have their turn in between."""
        user_ids = list(pending)
        teaching = LESSONS
        updates: list[ShownUpdate] = []
        for start in range(0, len(user_ids), READERS_PER_PART):
            part = slice(start, start + READERS_PER_PART)
            own = {user_id: pending[user_id] for user_id in user_ids[part]}
            updates += self._merge(own, held.of(part), news_ms, teaching)
            teaching = 0
            await asyncio.sleep(0)
        return updates

    def _merge(
        self,
        pending: Mapping[str, Mapping[bytes, PackedImpression]],
        held: Held,
        news_ms: int,
        teaching: int,
    ) -> list[ShownUpdate]:
        """Return what is to be stored of the readers of whom something counts."""
        wishes: list[bytes | None] = []
        merged: list[tuple[str, bytes | None, bytes, int, bytes | None]] = []
        histories: list[bytes] = []
        counted: list[PackedImpression] = []
        for (user_id, fresh), history, shown, mark, wish in zip(
            pending.items(),
            held.histories,
            held.showings,
            held.marks,
            held.preferences,
            strict=True,
        ):
            known = shown if is_history(shown) else None
            entries = [entry for each in fresh.values() for entry in each.showings]
            showings = merge(known, entries, MAX_SHOWINGS)
            new = counted_impressions(known, MAX_SHOWINGS, fresh)
            if new:
                merged.append((user_id, shown, showings, len(new), mark))
                counted += new
                wishes += [wish] * len(new)
                clicks = history if is_history(history) else None
                histories += [before(clicks, each.time_ms) for each in new]
        objecting = objections(wishes)
        told = iter(self._lessons.impressions(histories, counted, news_ms, objecting, teaching))
        return [
            ShownUpdate(user_id, shown, showings, b"".join(next(told) for _ in range(num)), mark)
            for user_id, shown, showings, num, mark in merged
        ]
