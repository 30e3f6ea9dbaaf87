"""What the API reads of Redis, and how a stored page becomes one that may be shown."""

from collections.abc import Sequence

import msgspec

from schemas import keys
from worker.redis_client import Client, get_many
from worker.serve.articles import KnownArticles, showable
from worker.serve.reads import SharedReads, in_time
from worker.serve.records import Page, PageItem


class _ItemId(msgspec.Struct, frozen=True):
    article_id: str


class _ItemIds(msgspec.Struct, frozen=True):
    items: list[_ItemId]


_id_decoder = msgspec.json.Decoder(_ItemIds)
_page_decoder = msgspec.json.Decoder(Page)
_encode = msgspec.json.Encoder().encode


class StoredPages:
    """Profiles, pages and articles as they are in Redis; read, never written.

    Raises of every method:
        TimeoutError, and the errors of redis-py: when Redis does not answer.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._reads = SharedReads(client)
        self._articles = KnownArticles(self._reads.get)

    async def profile(self, user_id: str) -> bytes | None:
        """Return the JSON of a reader's `Profile`."""
        (found,) = await self._reads.get([keys.profile(user_id)])
        return found

    async def preferences(self, user_id: str) -> bytes | None:
        """Return the JSON of a reader's `Preferences`."""
        (found,) = await self._reads.get([keys.preferences(user_id)])
        return found

    async def page(self, user_id: str, *, with_articles: bool) -> bytes | None:
        """Return the JSON of a reader's `Page`."""
        found, sequence = await self._reads.get([keys.recs(user_id), keys.CATALOGUE_SEQUENCE])
        if found is None:
            return None
        return await self._shown(found, sequence, with_articles=with_articles)

    async def both(self, user_ids: Sequence[str]) -> list[tuple[bytes | None, bytes | None]]:
        """Return each reader's profile and page, as they are stored."""
        names = [name(each) for each in user_ids for name in (keys.profile, keys.recs)]
        # By itself: it may be long, and a page is not to wait for it.
        values = await in_time(get_many(self._client, names))
        return list(zip(values[::2], values[1::2], strict=True))

    async def article(self, article_id: str) -> tuple[bytes | None, bool]:
        """Return the JSON of an `Article`, and whether it is withdrawn."""
        text, mark = await self._reads.get([keys.article(article_id), keys.withdrawn(article_id)])
        return text, mark is not None

    async def shown(self, stored: bytes, *, with_articles: bool) -> bytes:
        """Return a stored page without what has been withdrawn since, as JSON."""
        (sequence,) = await self._reads.get([keys.CATALOGUE_SEQUENCE])
        return await self._shown(stored, sequence, with_articles=with_articles)

    async def showable(self, items: Sequence[PageItem], *, with_articles: bool) -> list[PageItem]:
        """Return the items that may be shown."""
        (sequence,) = await self._reads.get([keys.CATALOGUE_SEQUENCE])
        known = await self._articles.of([each.article_id for each in items], sequence)
        return showable(items, known, with_articles=with_articles)

    async def _shown(self, stored: bytes, sequence: bytes | None, *, with_articles: bool) -> bytes:
        ids = [item.article_id for item in _id_decoder.decode(stored).items]
        known = await self._articles.of(ids, sequence)
        if not with_articles and not any(known[each].is_withdrawn for each in ids):
            return stored
        page = _page_decoder.decode(stored)
        items = showable(page.items, known, with_articles=with_articles)
        return _encode(msgspec.structs.replace(page, items=items))
