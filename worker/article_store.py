"""Articles in Redis: encoded once, shared by every worker's catalogue.

`{catalogue}:index` orders article references by the sequence number of their latest change, so
that a worker asks for "what changed since" instead of everything.
"""

from collections.abc import Sequence
from hashlib import sha1
from typing import Any, NamedTuple, cast

import msgspec
from redis.exceptions import NoScriptError

from schemas import keys
from schemas.encoded import EncodedArticle
from schemas.history import article_ref
from schemas.records import Article
from worker.reader_store import get_many
from worker.redis_client import Client
from worker.scripts import NOTE_ARTICLES

ARTICLES_PER_CALL = 512

_SCRIPT_SHA = sha1(NOTE_ARTICLES.encode(), usedforsecurity=False).hexdigest()
_article_decoder = msgspec.json.Decoder(Article)
_encoded_decoder = msgspec.msgpack.Decoder(EncodedArticle)
_msgpack = msgspec.msgpack.Encoder()


class Changes(NamedTuple):
    """What changed in the catalogue."""

    articles: list[EncodedArticle]
    position: int
    """The sequence number to ask from the next time."""


class ArticleStore:
    """Texts and encodings of articles."""

    def __init__(self, client: Client, ttl_ms: int) -> None:
        self._client = client
        self._ttl_ms = ttl_ms

    async def texts(self, article_ids: Sequence[str]) -> list[bytes | None]:
        """Return the JSON `Article` of each id as stored."""
        return await get_many(self._client, [keys.article(each) for each in article_ids])

    async def articles(self, article_ids: Sequence[str]) -> list[Article | None]:
        """Return the articles."""
        texts = await self.texts(article_ids)
        return [None if raw is None else _article_decoder.decode(raw) for raw in texts]

    async def put(self, texts: Sequence[bytes], encoded: Sequence[EncodedArticle]) -> None:
        """Store articles with their encodings, then tell every worker."""
        try:
            await self._put(texts, encoded)
        except NoScriptError:
            await self._client.script_load(NOTE_ARTICLES)
            await self._put(texts, encoded)

    async def _put(self, texts: Sequence[bytes], encoded: Sequence[EncodedArticle]) -> None:
        pipeline = self._client.pipeline(transaction=False)
        refs = [article_ref(article.article_id) for article in encoded]
        for text, article, ref in zip(texts, encoded, refs, strict=True):
            pipeline.set(keys.article(article.article_id), text, px=self._ttl_ms)
            pipeline.set(keys.encoded(ref), _msgpack.encode(article), px=self._ttl_ms)
        await pipeline.execute()
        # Only then: a worker that sees the number must find the article.
        await self._client.evalsha(
            _SCRIPT_SHA,
            2,
            keys.CATALOGUE_INDEX,
            keys.CATALOGUE_SEQUENCE,
            str(self._ttl_ms),
            *refs,
        )

    async def changes(self, position: int) -> Changes:
        """Return the articles that changed after `position` (0: all).

        A sequence that went back means an emptied Redis: everything there is new then.
        """
        sequence = int(await self._client.get(keys.CATALOGUE_SEQUENCE) or 0)
        if sequence == position:
            return Changes([], position)
        if sequence < position:
            position = 0
        scored: list[tuple[bytes, float]] = cast(
            "Any",
            await self._client.zrangebyscore(
                keys.CATALOGUE_INDEX, f"({position}", "+inf", withscores=True
            ),
        )
        articles: list[EncodedArticle] = []
        for start in range(0, len(scored), ARTICLES_PER_CALL):
            refs = [ref for ref, _ in scored[start : start + ARTICLES_PER_CALL]]
            for raw in await get_many(self._client, [keys.encoded(ref) for ref in refs]):
                if raw is not None:  # expired ones stay in the index until it expires
                    articles.append(_encoded_decoder.decode(raw))
        newest = int(scored[-1][1]) if scored else sequence
        return Changes(articles, newest)
