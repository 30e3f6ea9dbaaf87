"""Front pages for sessions without a name: made here, as a worker makes them, and kept nowhere.

The catalogue and what everybody clicks are followed in Redis, as workers do, but nothing is
written. Requests that wait are ranked together, in a thread: streams and lookups go on meanwhile.
"""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from schemas.decode import check_id, check_timestamp
from schemas.history import article_ref, merge, pack_entry
from schemas.preferences import pack_preferences
from schemas.records import Preferences
from schemas.timestamps import to_ms
from worker.article_store import ArticleStore
from worker.catalogue import Catalogue
from worker.click_log import ClickLog
from worker.eye import Eye
from worker.front_pages import FrontPage, FrontPages
from worker.model import Model
from worker.recommend.barred import Limits
from worker.recommend.options import read_options
from worker.recommend.recommender import Recommender
from worker.recommend.statistics import Statistics
from worker.recommend.warm import warm_up
from worker.redis_client import ERRORS, Client
from worker.serve.following import FollowedCatalogue
from worker.serve.problems import Kind, ProblemError
from worker.serve.records import PageItem, Session, SessionClick, SessionPage, SessionProfile
from worker.settings import Settings

FOLLOW_S = 0.5
MAX_WAITING = 256
NAME = "session"
"""Stands where a reader's id would; it is not looked up and goes nowhere."""

logger = logging.getLogger(__name__)


class _Asked(NamedTuple):
    history: bytes
    preferences: bytes | None
    now_ms: int
    page: asyncio.Future[FrontPage]


class _Made(msgspec.Struct, frozen=True):
    items: list[PageItem]
    generated_at: datetime


_page_decoder = msgspec.json.Decoder(_Made)
_profile_decoder = msgspec.json.Decoder(SessionProfile)


class Sessions:
    """Rank for sessions, from what workers share."""

    def __init__(self, settings: Settings, client: Client, model: Model) -> None:
        version = model.manifest.model_version
        catalogue = Catalogue(model.manifest.row_width, model.row_dtype)
        options = read_options(settings.recommend_file, settings.market)
        self._statistics = Statistics(settings.co_click_slots, options.blend, learned=model.blend)
        recommender = Recommender(catalogue, self._statistics, options)
        eye = Eye(catalogue, model, settings.tag_half_life_days)
        self._front_pages = FrontPages(model, recommender, eye, settings.num_recommendations)
        store = ArticleStore(client, settings.ttl_ms, version)
        self._catalogue = FollowedCatalogue(catalogue, store)
        self._click_log = ClickLog(
            client, self._statistics, catalogue, settings.ttl_ms, read_only=True
        )
        self._version = version
        self._history_size = settings.history_size
        self._waiting: list[_Asked] = []
        self._has_work = asyncio.Event()
        self._alone = asyncio.Lock()
        self.is_ready = False
        """Whether the catalogue has been read once."""

    async def page(self, session: Session, now_ms: int) -> SessionPage:
        """Return the page of a session.

        Raises:
            InvalidMessageError: when an id or a time can be none.
            ProblemError: when it is not loaded yet, or too many wait.
        """
        if not self.is_ready:
            raise ProblemError(Kind.NO_MODEL, "not yet")
        if len(self._waiting) >= MAX_WAITING:
            raise ProblemError(Kind.BUSY)
        history = _history(session.clicks, self._seen_from(now_ms), now_ms, self._history_size)
        made: asyncio.Future[FrontPage] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Asked(history, _preferences(session), now_ms, made))
        self._has_work.set()
        found = await made
        page = _page_decoder.decode(found.recommendation)
        profile = None
        if found.profile and session.clicks:
            profile = _profile_decoder.decode(found.profile)
        return SessionPage(
            items=page.items,
            profile=profile,
            model_version=self._version,
            generated_at=page.generated_at,
        )

    async def run(self) -> None:
        """Make pages, for as long as the server runs."""
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            batch, self._waiting = self._waiting, []
            async with self._alone:
                pages = await asyncio.to_thread(self._make, batch)
            for asked, page in zip(batch, pages, strict=True):
                if not asked.page.done():  # its client has gone
                    asked.page.set_result(page)

    async def follow(self) -> None:
        """Learn what workers learn, for as long as the server runs."""
        await asyncio.to_thread(warm_up)
        while True:
            try:
                async with self._alone:
                    await self._catalogue.follow()
                    await self._click_log.follow()
                    if not self.is_ready:
                        await asyncio.to_thread(self._front_pages.prepare)
                self.is_ready = True
            except (*ERRORS, OSError) as error:
                logger.warning("catalogue not renewed: %s", type(error).__name__)
            await asyncio.sleep(FOLLOW_S)

    def _make(self, batch: Sequence[_Asked]) -> list[FrontPage]:
        now_ms = max(asked.now_ms for asked in batch)
        size = len(batch)
        made = self._front_pages.make(
            [NAME] * size,
            [asked.history for asked in batch],
            self._seen_from(now_ms),
            datetime.fromtimestamp(now_ms / 1000, UTC),
            [now_ms] * size,
            Limits([None] * size, [asked.preferences for asked in batch]),
        )
        return list(made)

    def _seen_from(self, now_ms: int) -> int:
        """Return the moment the news are seen from: that of the latest click of anybody."""
        newest_ms = self._statistics.newest_ms
        return min(newest_ms or now_ms, now_ms)


def _history(
    clicks: Sequence[SessionClick], seen_from_ms: int, now_ms: int, history_size: int
) -> bytes:
    """Return a session's clicks as a reader's are kept; `b""` without any."""
    entries = []
    for number, click in enumerate(clicks, start=1 - len(clicks)):
        check_id(click.article_id)
        # A second apart: their order is all that is known.
        time_ms = (
            seen_from_ms + 1000 * number if click.timestamp is None else to_ms(click.timestamp)
        )
        check_timestamp(time_ms, now_ms)
        entries.append(pack_entry(time_ms, None, article_ref(click.article_id)))
    return merge(None, entries, history_size) if entries else b""


def _preferences(session: Session) -> bytes | None:
    if session.profiling and not session.blocked_tags and not session.blocked_articles:
        return None
    return pack_preferences(
        Preferences(
            user_id=NAME,
            timestamp=0,
            blocked_tags=session.blocked_tags,
            blocked_articles=session.blocked_articles,
            profiling=session.profiling,
        )
    )
