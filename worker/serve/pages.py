"""What the API reads of Redis, and how a stored page becomes one that may be shown."""

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from schemas import keys
from worker.redis_client import Client, get_many
from worker.serve.records import ArticleSummary, Page, PageItem

REDIS_S = 2.0
"""How long a request waits for Redis."""


Reply = TypeVar("Reply")


class _ItemId(msgspec.Struct, frozen=True):
    article_id: str


class _ItemIds(msgspec.Struct, frozen=True):
    items: list[_ItemId]


_id_decoder = msgspec.json.Decoder(_ItemIds)
_page_decoder = msgspec.json.Decoder(Page)
_summary_decoder = msgspec.json.Decoder(ArticleSummary)
_encode = msgspec.json.Encoder().encode


class Shown:
    """What may be shown of articles.

    withdrawn: those that may not. summaries: of the others, where they were asked for.
    """

    def __init__(
        self, withdrawn: set[str], summaries: Mapping[str, ArticleSummary | None] | None
    ) -> None:
        self.withdrawn = withdrawn
        self.summaries = summaries


class StoredPages:
    """Profiles, pages and articles as they are in Redis; read, never written.

    Raises of every method:
        TimeoutError, and the errors of redis-py: when Redis does not answer.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def profile(self, user_id: str) -> bytes | None:
        """Return the JSON of a reader's `Profile`."""
        (found,) = await self._get([keys.profile(user_id)])
        return found

    async def page(self, user_id: str, *, with_articles: bool) -> bytes | None:
        """Return the JSON of a reader's `Page`."""
        (found,) = await self._get([keys.recs(user_id)])
        return None if found is None else await self.shown(found, with_articles=with_articles)

    async def both(self, user_ids: Sequence[str]) -> list[tuple[bytes | None, bytes | None]]:
        """Return each reader's profile and page, as they are stored."""
        names = [name(each) for each in user_ids for name in (keys.profile, keys.recs)]
        values = await self._get(names)
        return list(zip(values[::2], values[1::2], strict=True))

    async def article(self, article_id: str) -> tuple[bytes | None, bool]:
        """Return the JSON of an `Article`, and whether it is withdrawn."""
        text, mark = await self._get([keys.article(article_id), keys.withdrawn(article_id)])
        return text, mark is not None

    async def shown(self, stored: bytes, *, with_articles: bool) -> bytes:
        """Return a stored page without what has been withdrawn since, as JSON."""
        ids = [item.article_id for item in _id_decoder.decode(stored).items]
        articles = await self.articles(ids, with_summaries=with_articles)
        if not articles.withdrawn and articles.summaries is None:
            return stored
        page = _page_decoder.decode(stored)
        return _encode(msgspec.structs.replace(page, items=showable(page.items, articles)))

    async def articles(self, ids: Sequence[str], *, with_summaries: bool) -> Shown:
        """Return what may be shown of some articles."""
        names = [keys.withdrawn(each) for each in ids]
        if with_summaries:
            names += [keys.article(each) for each in ids]
        values = await self._get(names)
        withdrawn = {each for each, mark in zip(ids, values, strict=False) if mark is not None}
        if not with_summaries:
            return Shown(withdrawn, None)
        texts = zip(ids, values[len(ids) :], strict=True)
        return Shown(withdrawn, {each: summary(text) for each, text in texts})

    async def _get(self, names: Sequence[str]) -> list[bytes | None]:
        return await redis_in_time(get_many(self._client, names))


async def redis_in_time(reply: Awaitable[Reply]) -> Reply:
    """Wait for Redis, but not for long.

    Raises:
        TimeoutError: after `REDIS_S`.
    """
    async with asyncio.timeout(REDIS_S):
        return await reply


def summary(text: bytes | None) -> ArticleSummary | None:
    """Return what is shown of an article, by its JSON."""
    return None if text is None else _summary_decoder.decode(text)


def showable(items: Iterable[PageItem], shown: Shown) -> list[PageItem]:
    """Return the items that are not withdrawn, each with its article where that was asked for."""
    kept = [each for each in items if each.article_id not in shown.withdrawn]
    if shown.summaries is None:
        return kept
    return [
        msgspec.structs.replace(each, article=shown.summaries.get(each.article_id)) for each in kept
    ]
