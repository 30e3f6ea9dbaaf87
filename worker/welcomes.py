"""What answers visits and preferences: pages made with what everybody has clicked up to now."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from schemas.history import is_history
from schemas.preferences import newest
from worker.front_pages import READERS_PER_RUN, FrontPage, FrontPages
from worker.metrics import Metrics
from worker.reader_store import Held, PageUpdate, ReaderStore
from worker.recommend.barred import Limits


class Answered(NamedTuple):
    """What became of visits and preferences.

    lost: readers whom another worker changed meanwhile; nothing of theirs is stored. unprofiled:
    of those who are stored, who wishes for no profile.
    """

    stored: list[PageUpdate]
    lost: list[str]
    unprofiled: set[str]


class Welcomes:
    """Make pages for readers who come or wish, and store them."""

    def __init__(self, front_pages: FrontPages, readers: ReaderStore, metrics: Metrics) -> None:
        self._front_pages = front_pages
        self._readers = readers
        self._metrics = metrics

    async def store(
        self,
        times_ms: Mapping[str, int],
        wishes: Mapping[str, bytes],
        held: Held,
        now_ms: int,
        news_ms: int,
    ) -> Answered:
        """Store a page of each reader, and what they wish.

        times_ms: when each reader came or wished. wishes: preferences to be stored, unless newer
        ones are held. held: what is held of these readers, in their order. news_ms: the moment the
        news are seen from, epoch milliseconds.
        """
        user_ids = list(times_ms)
        preferences = [
            newest(kept, wishes.get(user_id))
            for user_id, kept in zip(user_ids, held.preferences, strict=True)
        ]
        made = self._front_pages.make(
            user_ids,
            [packed if is_history(packed) else b"" for packed in held.histories],
            news_ms,
            datetime.fromtimestamp(now_ms / 1000, UTC),
            list(times_ms.values()),
            Limits(held.showings, preferences),
        )
        pages: list[FrontPage] = []
        with self._metrics.stage("compute"):
            for page in made:
                pages.append(page)
                if not len(pages) % READERS_PER_RUN:
                    await asyncio.sleep(0)  # clicks have their turn
        updates = [
            PageUpdate(
                user_id,
                held.histories[i],
                page.recommendation,
                page.served,
                held.preferences[i],
                preferences[i],
                held.marks[i],
            )
            for i, (user_id, page) in enumerate(zip(user_ids, pages, strict=True))
        ]
        with self._metrics.stage("write"):
            lost = set(await self._readers.write_pages(updates))
        stored = [i for i in range(len(user_ids)) if i not in lost]
        return Answered(
            [updates[i] for i in stored],
            [user_ids[i] for i in sorted(lost)],
            {user_ids[i] for i in stored if not pages[i].profile and user_ids[i] in wishes},
        )
