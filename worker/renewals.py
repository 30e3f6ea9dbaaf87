"""What follows from readers' clicks: made and stored, part by part.

One part is made while Redis stores the part before it.
"""

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import cast

from schemas.history import ENTRY_BYTES, HEADER_BYTES, merge
from worker.batch_lessons import BatchLessons
from worker.counting import counted_positions
from worker.front_pages import FrontPages
from worker.metrics import Metrics
from worker.profiling import objections
from worker.reader_store import Held, ReaderStore, ReaderUpdate, WriteResult
from worker.recommend.barred import Limits

READERS_PER_PART = 512
STEPS_TO_SEND = 3
"""Of the event loop: redis-py needs two before what it is to write is on its way."""

logger = logging.getLogger(__name__)


def _header(history: bytes | None) -> bytes | None:
    # What is compared with when it is stored; a batch of full histories is 130 MB.
    return history and history[:HEADER_BYTES]


class Renewals:
    """Merge readers' clicks, renew their profiles and front pages, and store all of it.

    history_size: the clicks that are kept of a reader.
    """

    def __init__(
        self,
        front_pages: FrontPages,
        lessons: BatchLessons,
        readers: ReaderStore,
        history_size: int,
        metrics: Metrics,
    ) -> None:
        self._front_pages = front_pages
        self._lessons = lessons
        self._readers = readers
        self._history_size = history_size
        self._metrics = metrics

    async def store(
        self, clicks: Mapping[str, list[bytes]], held: Held, now_ms: int, news_ms: int
    ) -> tuple[list[ReaderUpdate], list[WriteResult]]:
        """Store what follows from clicks, by reader; return that, and what became of each part.

        held: what is held of these readers, in their order. news_ms: the moment the news are seen
        from, epoch milliseconds.
        """
        user_ids = list(clicks)
        num_clicks = sum(map(len, clicks.values()))
        updates: list[ReaderUpdate] = []
        writes = []
        try:
            for start in range(0, len(user_ids), READERS_PER_PART):
                part = slice(start, start + READERS_PER_PART)
                own = {user_id: clicks[user_id] for user_id in user_ids[part]}
                with self._metrics.stage("compute"):
                    made = await self._make(own, held.of(part), now_ms, news_ms, num_clicks)
                num_clicks = 0  # only the first part teaches
                updates += made
                writes.append(asyncio.create_task(self._write(made)))
                for _ in range(STEPS_TO_SEND):
                    await asyncio.sleep(0)
        finally:
            # All of them are looked at: asyncio logs what nobody has, and that may name readers.
            results = await asyncio.gather(*writes, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return updates, cast("list[WriteResult]", results)

    async def _write(self, updates: list[ReaderUpdate]) -> WriteResult:
        with self._metrics.stage("write"):
            return await self._readers.write(updates)

    async def _make(
        self,
        clicks: Mapping[str, list[bytes]],
        found: Held,
        now_ms: int,
        news_ms: int,
        num_clicks: int,
    ) -> list[ReaderUpdate]:
        """Return what is to be stored of the readers who have a click at all."""
        user_ids, held = list(clicks), found.histories
        merged = [
            await self._merged(user_id, packed, clicks[user_id])
            for user_id, packed in zip(user_ids, held, strict=True)
        ]
        read = [i for i, packed in enumerate(merged) if len(packed) > ENTRY_BYTES]
        histories = [merged[i] for i in read]
        preferences = [found.preferences[i] for i in read]
        made = self._front_pages.make(
            [user_ids[i] for i in read],
            histories,
            news_ms,
            datetime.fromtimestamp(now_ms / 1000, UTC),
            limits=Limits([found.showings[i] for i in read], preferences),
        )
        pages = list(made)
        told = self._lessons.clicks(
            histories,
            [counted_positions(held[i], merged[i], clicks[user_ids[i]]) for i in read],
            [page.membership for page in pages],
            news_ms,
            objections(preferences),
            num_clicks,
        )
        return [
            ReaderUpdate(
                user_ids[i],
                _header(held[i]),
                merged[i],
                page.profile,
                page.recommendation,
                page.unknown,
                entry,
                page.served,
                found.preferences[i],
                found.marks[i],
            )
            for i, page, entry in zip(read, pages, told, strict=True)
        ]

    async def _merged(self, user_id: str, held: bytes | None, fresh: list[bytes]) -> bytes:
        try:
            return merge(held, fresh, self._history_size)
        except ValueError:
            logger.error("a history of an unknown format was set aside")
            await self._readers.set_aside(user_id, held or b"")
            return merge(None, fresh, self._history_size)
