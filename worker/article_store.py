"""Articles in Redis: encoded once, shared by every worker's catalogue.

`{catalogue}:index` orders article ids by the sequence number of their latest change, so
that a worker asks for "what changed since" instead of everything.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha1
from typing import Any, NamedTuple, cast

import msgspec
from redis.exceptions import NoScriptError

from schemas import keys
from schemas.encoded import EncodedArticle
from schemas.history import article_ref
from schemas.records import Article
from worker.redis_client import Client, get_many
from worker.scripts import NOTE_ARTICLES

_SCRIPT_SHA = sha1(NOTE_ARTICLES.encode(), usedforsecurity=False).hexdigest()
_article_decoder = msgspec.json.Decoder(Article)
_encoded_decoder = msgspec.msgpack.Decoder(EncodedArticle)
_msgpack = msgspec.msgpack.Encoder()


class Changes(NamedTuple):
    """What changed in the catalogue."""

    article_ids: list[str]
    position: int
    """The sequence number to ask from the next time."""


class ArticleStore:
    """Texts and encodings of articles, the latter as one model makes them."""

    def __init__(self, client: Client, ttl_ms: int, model_version: str) -> None:
        self._client = client
        self._ttl_ms = ttl_ms
        self._model_version = model_version

    async def texts(self, article_ids: Sequence[str]) -> list[bytes | None]:
        """Return the JSON `Article` of each id as stored."""
        return await get_many(self._client, [keys.article(each) for each in article_ids])

    async def articles(self, article_ids: Sequence[str]) -> list[Article | None]:
        """Return the articles."""
        texts = await self.texts(article_ids)
        return [None if raw is None else _article_decoder.decode(raw) for raw in texts]

    async def sums(self, article_ids: Sequence[str]) -> list[bytes | None]:
        """Return the checksum of the text of each article that counts, or comes in a moment."""
        if not article_ids:
            return []
        found: list[bytes | None] = await _of(
            self._client.hmget(keys.CATALOGUE_SUMS, list(article_ids))
        )
        return found

    async def encoded(self, article_ids: Sequence[str]) -> list[EncodedArticle | None]:
        """Return what this model made of the articles."""
        names = [keys.encoded(article_ref(each), self._model_version) for each in article_ids]
        values = await get_many(self._client, names)
        return [None if raw is None else _encoded_decoder.decode(raw) for raw in values]

    async def withdrawn(self, article_ids: Sequence[str]) -> list[bool]:
        """Return which of the articles are recommended no more."""
        marks = await get_many(self._client, [keys.withdrawn(each) for each in article_ids])
        return [mark is not None for mark in marks]

    async def withdraw(self, article_ids: Sequence[str]) -> None:
        """Delete the articles' texts and mark them as withdrawn, then tell every worker.

        The encodings stay: the profiles of those who clicked rest on them.
        """
        pipeline = self._client.pipeline(transaction=False)
        for article_id in article_ids:
            pipeline.set(keys.withdrawn(article_id), b"1", px=self._ttl_ms)
            pipeline.delete(keys.article(article_id))
        await pipeline.execute()
        await self._note((each, b"") for each in article_ids)

    async def put(self, texts: Sequence[bytes], encoded: Sequence[EncodedArticle]) -> None:
        """Store articles with their encodings, withdrawn or not before; then tell every worker."""
        await self.put_encoded(encoded, brings_back=True)
        # Only then: a worker that sees the number must find the encoding.
        await self._note((article.article_id, article.text_sum) for article in encoded)
        # The text comes last: finding it as it should be means that all of this has been done.
        pipeline = self._client.pipeline(transaction=False)
        for text, article in zip(texts, encoded, strict=True):
            pipeline.set(keys.article(article.article_id), text, px=self._ttl_ms)
        await pipeline.execute()

    async def put_encoded(
        self, encoded: Sequence[EncodedArticle], *, brings_back: bool = False
    ) -> None:
        """Store only the encodings: this model's, of articles that are there already."""
        pipeline = self._client.pipeline(transaction=False)
        for article in encoded:
            name = keys.encoded(article_ref(article.article_id), self._model_version)
            pipeline.set(name, _msgpack.encode(article), px=self._ttl_ms)
            if brings_back:
                pipeline.delete(keys.withdrawn(article.article_id))
        await pipeline.execute()

    async def _note(self, changes: Iterable[tuple[str, bytes]]) -> None:
        names = (keys.CATALOGUE_INDEX, keys.CATALOGUE_SEQUENCE, keys.CATALOGUE_SUMS)
        arguments: list[Any] = [str(self._ttl_ms)]
        for change in changes:
            arguments += change
        try:
            await self._client.evalsha(_SCRIPT_SHA, len(names), *names, *arguments)
        except NoScriptError:
            # A new, restarted or failed-over Redis does not know the script.
            await self._client.script_load(NOTE_ARTICLES)
            await self._client.evalsha(_SCRIPT_SHA, len(names), *names, *arguments)

    async def forget(self, article_ids: Sequence[str]) -> None:
        """Take articles whose text has expired out of the index."""
        if article_ids:
            await self._client.zrem(keys.CATALOGUE_INDEX, *article_ids)
            await _of(self._client.hdel(keys.CATALOGUE_SUMS, *article_ids))

    async def changes(self, position: int) -> Changes:
        """Return the articles that changed after `position` (0: all).

        A sequence that went back means an emptied Redis: everything there is new then.
        """
        sequence = int(await self._client.get(keys.CATALOGUE_SEQUENCE) or 0)
        if sequence == position:
            return Changes([], position)
        scored: list[tuple[bytes, float]] = cast(
            "Any",
            await self._client.zrangebyscore(
                keys.CATALOGUE_INDEX,
                f"({position if sequence > position else 0}",
                "+inf",
                withscores=True,
            ),
        )
        newest = int(scored[-1][1]) if scored else sequence
        return Changes([member.decode() for member, _ in scored], newest)


async def _of(reply: Any) -> Any:
    # redis-py types the replies of its asynchronous client as "awaitable or not".
    return await reply
