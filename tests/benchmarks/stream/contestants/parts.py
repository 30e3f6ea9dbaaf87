"""What the contestants share with the worker: its stores and pure functions, without its shell."""

import logging
import os
from datetime import UTC, datetime
from time import monotonic, time_ns
from typing import Any

from schemas.history import ENTRY_BYTES, merge
from worker.article_store import ArticleStore
from worker.articles import Articles
from worker.batch_lessons import BatchLessons
from worker.catalogue import Catalogue
from worker.click_log import ClickLog
from worker.counting import counted_positions
from worker.emitter import Emitter
from worker.eye import Eye
from worker.front_pages import FrontPages
from worker.intake import decoder_of, sort_records
from worker.kafka_security import librdkafka_config
from worker.model import Model
from worker.reader_store import Held, ReaderStore, ReaderUpdate
from worker.recommend.barred import Limits
from worker.recommend.options import Options
from worker.recommend.recommender import Recommender
from worker.recommend.statistics import Statistics
from worker.recommend.warm import warm_up
from worker.redis_client import connect
from worker.settings import Settings, read_settings

FOLLOW_INTERVAL_S = 0.5


class Parts:
    """Stores and pure functions, put together as `worker.app` does it."""

    def __init__(self, settings: Settings, model: Model) -> None:
        warm_up()
        self.settings = settings
        self.redis = connect(settings)
        version = model.manifest.model_version
        self.catalogue = Catalogue(model.manifest.row_width, model.row_dtype)
        statistics = Statistics(settings.co_click_slots, learned=model.blend)
        store = ArticleStore(self.redis, settings.ttl_ms, version)
        self.articles = Articles(model, self.catalogue, store)
        recommender = Recommender(self.catalogue, statistics, Options())
        eye = Eye(self.catalogue, model, settings.tag_half_life_days)
        self.front_pages = FrontPages(model, recommender, eye, settings.num_recommendations)
        self.lessons = BatchLessons(self.catalogue, recommender, eye)
        self.readers = ReaderStore(self.redis, settings.ttl_ms, version)
        self.click_log = ClickLog(self.redis, statistics, self.catalogue, settings.ttl_ms)
        self.emitter = Emitter(librdkafka_config(settings))
        self.newest_click_ms = 0
        self._followed_at = monotonic()

    async def load(self) -> None:
        """Learn every article that is in Redis, and say so."""
        await self.articles.follow()
        await self.click_log.follow()
        logging.getLogger(__name__).info("catalogue: %d articles", len(self.catalogue))

    async def follow(self) -> None:
        """Follow the catalogue, now and then."""
        if monotonic() - self._followed_at >= FOLLOW_INTERVAL_S:
            self._followed_at = monotonic()
            await self.articles.follow()
            await self.click_log.checkpoint()

    async def take(self, records: list[Any]) -> None:
        """Do with a batch of clicks what the worker does, as straight as it goes."""
        topics = self.settings.topics
        decode = decoder_of(topics.clicks, topics)
        intake = sort_records(records, decode, time_ns() // 1_000_000)
        assert not intake.bad, "the benchmark's clicks are good"
        failures_before = self.emitter.num_failures
        self.newest_click_ms = max(self.newest_click_ms, intake.newest_ms)
        await self._update(intake.clicks)
        await self.emitter.delivered(failures_before)

    async def _update(self, clicks: dict[str, list[bytes]]) -> None:
        pending = clicks
        while pending:
            user_ids = list(pending)
            held = await self.readers.read(user_ids, [], self.click_log.follow_and_get)
            updates = self.renew(pending, user_ids, held)
            result = await self.readers.write(updates)
            topics = self.settings.topics
            for update in updates:
                if update.user_id not in result.lost:
                    self.emitter.send(topics.profiles, update.user_id, update.profile)
                    self.emitter.send(topics.recommendations, update.user_id, update.recommendation)
            pending = {user_id: pending[user_id] for user_id in result.lost}

    def renew(
        self, clicks: dict[str, list[bytes]], user_ids: list[str], held: Held, learn: bool = True
    ) -> list[ReaderUpdate]:
        """Return what follows from these readers' clicks; no input or output.

        learn: whether what everybody clicks is counted, too.
        """
        packed = held.histories
        histories = [
            merge(before, clicks[user_id], self.settings.history_size)
            for user_id, before in zip(user_ids, packed, strict=True)
        ]
        assert all(len(each) > ENTRY_BYTES for each in histories)
        made = self.front_pages.make(
            user_ids,
            histories,
            self.newest_click_ms,
            datetime.now(UTC),
            limits=Limits(held.showings, held.preferences),
        )
        pages = list(made)
        told = [b""] * len(pages)
        if learn:
            counted = [
                counted_positions(before, after, clicks[user_id])
                for user_id, before, after in zip(user_ids, packed, histories, strict=True)
            ]
            memberships = [page.membership for page in pages]
            told = self.lessons.clicks(
                histories,
                counted,
                memberships,
                self.newest_click_ms,
                num_clicks=sum(map(len, clicks.values())),
            )
        return [
            ReaderUpdate(
                user_ids[i],
                packed[i],
                histories[i],
                page.profile,
                page.recommendation,
                page.unknown,
                told[i],
            )
            for i, page in enumerate(pages)
        ]


def settings_of_process() -> Settings:
    """Read the settings and begin to log, as the worker does at its start."""
    settings = read_settings(os.environ)
    logging.basicConfig(level=settings.log_level, format="%(levelname)s %(name)s %(message)s")
    return settings
