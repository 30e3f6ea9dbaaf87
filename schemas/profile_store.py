"""Read profiles and front pages from a service of one's own: a small client, sync and async.

    store = ProfileStore.from_url("redis://127.0.0.1:6379/0")
    store.profile("42")                  # a Profile, or None
    store.profiles(["42", "43"])         # one call: {"42": Profile, "43": None}
    store.front_page("42")               # what to show, with titles and without what is withdrawn

    store = AsyncProfileStore.from_url("redis://127.0.0.1:6379/0")
    await store.profiles(["42", "43"])

It needs `redis` and `msgspec` alone, reads and never writes, and may be shared by threads (or by
the tasks of one event loop). Ids are escaped for the names of keys (`schemas.keys`). Every method
raises the errors of redis-py when Redis does not answer in time, and InvalidMessageError for a
value that is no such record.
"""

from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import msgspec
import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from schemas import keys
from schemas.errors import InvalidMessageError
from schemas.records import Article, Profile, Recommendation

TIMEOUT_S = 1.0
"""Of connecting, and of each answer: a page is not to wait for long."""

Record = TypeVar("Record", bound=msgspec.Struct)

_profiles = msgspec.json.Decoder(Profile)
_recommendations = msgspec.json.Decoder(Recommendation)
_articles = msgspec.json.Decoder(Article)


class FrontPage(NamedTuple):
    """What to show a reader.

    Attributes:
        recommendation: the items, best first, without those withdrawn since it was made.
        articles: by id those of the items that are still held.
    """

    recommendation: Recommendation
    articles: dict[str, Article]


class ProfileStore:
    """Read profiles and front pages.

    client: of Redis or of a Redis Cluster, with `decode_responses` or without.
    """

    def __init__(self, client: "redis.Redis | redis.RedisCluster") -> None:
        self._client: Any = client
        self._is_cluster = isinstance(client, redis.RedisCluster)

    @classmethod
    def from_url(
        cls, url: str, *, cluster: bool = False, timeout_s: float = TIMEOUT_S, **options: Any
    ) -> Self:
        """Connect to a server, or to the cluster that a node is of; options are redis-py's."""
        kind = redis.RedisCluster if cluster else redis.Redis
        return cls(kind.from_url(url, **_options(Retry(_backoff(), 1), timeout_s), **options))

    def profile(self, user_id: str) -> Profile | None:
        """Return a reader's profile; None of who never clicked, or objects to profiling."""
        return self.profiles([user_id])[user_id]

    def profiles(self, user_ids: Iterable[str]) -> dict[str, Profile | None]:
        """Return the profiles of many readers, in one call."""
        return self._read(user_ids, keys.profile, _profiles)

    def recommendation(self, user_id: str) -> Recommendation | None:
        """Return a reader's latest page, as it was made."""
        return self.recommendations([user_id])[user_id]

    def recommendations(self, user_ids: Iterable[str]) -> dict[str, Recommendation | None]:
        """Return the latest pages of many readers, in one call."""
        return self._read(user_ids, keys.recs, _recommendations)

    def articles(self, article_ids: Iterable[str]) -> dict[str, Article | None]:
        """Return many articles, in one call; None where one is withdrawn or has expired."""
        return self._read(article_ids, keys.article, _articles)

    def front_page(self, user_id: str) -> FrontPage | None:
        """Return what to show a reader, in two calls."""
        page = self.recommendation(user_id)
        if page is None:
            return None
        ids = [item.article_id for item in page.items]
        return _front_page(page, self._get(_names_of_articles(ids)))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _read(
        self,
        ids: Iterable[str],
        name: Callable[[str], str],
        decoder: msgspec.json.Decoder[Record],
    ) -> dict[str, Record | None]:
        wanted = list(dict.fromkeys(ids))
        return _decoded(wanted, self._get([name(each) for each in wanted]), decoder)

    def _get(self, names: Sequence[str]) -> list[bytes | str | None]:
        if not names:
            return []
        if not self._is_cluster:
            return list(self._client.mget(names))
        pipeline = self._client.pipeline()
        for name in names:
            pipeline.get(name)
        return list(pipeline.execute())


class AsyncProfileStore:
    """Read profiles and front pages, in an event loop; see `ProfileStore`."""

    def __init__(self, client: "redis.asyncio.Redis | redis.asyncio.RedisCluster") -> None:
        self._client: Any = client
        self._is_cluster = isinstance(client, redis.asyncio.RedisCluster)

    @classmethod
    def from_url(
        cls, url: str, *, cluster: bool = False, timeout_s: float = TIMEOUT_S, **options: Any
    ) -> Self:
        """Connect to a server, or to the cluster that a node is of; options are redis-py's."""
        kind = redis.asyncio.RedisCluster if cluster else redis.asyncio.Redis
        return cls(kind.from_url(url, **_options(AsyncRetry(_backoff(), 1), timeout_s), **options))

    async def profile(self, user_id: str) -> Profile | None:
        """Return a reader's profile; None of who never clicked, or objects to profiling."""
        return (await self.profiles([user_id]))[user_id]

    async def profiles(self, user_ids: Iterable[str]) -> dict[str, Profile | None]:
        """Return the profiles of many readers, in one call."""
        return await self._read(user_ids, keys.profile, _profiles)

    async def recommendation(self, user_id: str) -> Recommendation | None:
        """Return a reader's latest page, as it was made."""
        return (await self.recommendations([user_id]))[user_id]

    async def recommendations(self, user_ids: Iterable[str]) -> dict[str, Recommendation | None]:
        """Return the latest pages of many readers, in one call."""
        return await self._read(user_ids, keys.recs, _recommendations)

    async def articles(self, article_ids: Iterable[str]) -> dict[str, Article | None]:
        """Return many articles, in one call; None where one is withdrawn or has expired."""
        return await self._read(article_ids, keys.article, _articles)

    async def front_page(self, user_id: str) -> FrontPage | None:
        """Return what to show a reader, in two calls."""
        page = await self.recommendation(user_id)
        if page is None:
            return None
        ids = [item.article_id for item in page.items]
        return _front_page(page, await self._get(_names_of_articles(ids)))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _read(
        self,
        ids: Iterable[str],
        name: Callable[[str], str],
        decoder: msgspec.json.Decoder[Record],
    ) -> dict[str, Record | None]:
        wanted = list(dict.fromkeys(ids))
        return _decoded(wanted, await self._get([name(each) for each in wanted]), decoder)

    async def _get(self, names: Sequence[str]) -> list[bytes | str | None]:
        if not names:
            return []
        if not self._is_cluster:
            return list(await self._client.mget(names))
        pipeline = self._client.pipeline()
        for name in names:
            pipeline.get(name)
        return list(await pipeline.execute())


def _options(retry: Any, timeout_s: float) -> dict[str, Any]:
    return {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s, "retry": retry}


def _backoff() -> ExponentialWithJitterBackoff:
    return ExponentialWithJitterBackoff(base=0.05, cap=0.2)


def _names_of_articles(article_ids: Sequence[str]) -> list[str]:
    return [*map(keys.article, article_ids), *map(keys.withdrawn, article_ids)]


def _front_page(page: Recommendation, values: Sequence[bytes | str | None]) -> FrontPage:
    """Put a page together. values: of the names of its articles, as above."""
    ids = [item.article_id for item in page.items]
    found = _decoded(ids, values[: len(ids)], _articles)
    marks = dict(zip(ids, values[len(ids) :], strict=True))
    shown = [item for item in page.items if marks[item.article_id] is None]
    articles = {each: article for each, article in found.items() if article and not marks[each]}
    return FrontPage(msgspec.structs.replace(page, items=shown), articles)


def _decoded(
    ids: Sequence[str],
    values: Sequence[bytes | str | None],
    decoder: msgspec.json.Decoder[Record],
) -> dict[str, Record | None]:
    try:
        return {
            each: None if value is None else decoder.decode(value)
            for each, value in zip(ids, values, strict=True)
        }
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # Without the error's own text, which may quote what is stored.
        raise InvalidMessageError("invalid", "a value in Redis is no such record") from error
