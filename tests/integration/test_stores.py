"""The stores against real Redis: the same tests on a single server and on a cluster."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis.exceptions
from redis.asyncio import RedisCluster

from schemas import keys
from schemas.encoded import EncodedArticle
from schemas.history import article_ref, merge, pack_entry
from worker.article_store import ArticleStore
from worker.local.redis_server import start_redis
from worker.reader_store import PageUpdate, ReaderStore, ReaderUpdate, ShownUpdate
from worker.redis_client import Client, is_transient

TTL_MS = 60_000


@contextmanager
def single(directory: Path) -> Iterator[str]:
    with start_redis(directory) as server:
        yield server.url


@pytest.fixture
def readers(client: Client) -> ReaderStore:
    return ReaderStore(client, TTL_MS, "v1")


def update(
    user_id: str, held: bytes | None, *clicks: int, unknown: tuple[bytes, ...] = ()
) -> ReaderUpdate:
    entries = [pack_entry(time, f"e{time}", article_ref("a")) for time in clicks]
    return ReaderUpdate(user_id, held, merge(held, entries, 8), b"profile", b"recs", unknown)


async def test_what_is_written_is_read(readers: ReaderStore, client: Client) -> None:
    users = [f"u{i}" for i in range(300)]
    updates = [update(user, None, i) for i, user in enumerate(users, start=1)]
    assert (await readers.write(updates)).lost == set()
    histories = (await readers.read(users, [])).histories
    assert histories == [each.history for each in updates]
    assert await client.get(keys.profile("u7")) == b"profile"
    assert await client.get(keys.recs("u7")) == b"recs"
    for name in (keys.profile("u7"), keys.history("u7"), keys.recs("u7")):
        assert 0 < await client.pttl(name) <= TTL_MS


async def test_the_slower_of_two_writers_is_told_and_changes_nothing(readers: ReaderStore) -> None:
    first, slower, other = update("u", None, 1), update("u", None, 2), update("v", None, 3)
    await readers.write([first])
    assert (await readers.write([other, slower])).lost == {slower.user_id}
    histories = (await readers.read(["u", "v"], [])).histories
    assert histories == [first.history, other.history]


async def test_a_history_of_many_clicks_is_compared_whole(readers: ReaderStore) -> None:
    first = update("u", None, *range(1, 9))
    await readers.write([first])
    # Differs only in its middle: same length, same newest and oldest click.
    forged = update("u", None, 1, 2, 3, 40, 5, 6, 7, 8)
    assert (await readers.write([update("u", forged.history, 9)])).lost == {"u"}
    assert (await readers.write([update("u", first.history, 9)])).lost == set()


async def test_a_page_that_heeds_old_preferences_is_not_stored(
    readers: ReaderStore, client: Client
) -> None:
    first = update("u", None, 1)
    await readers.write([first])
    wish, later = b'{"blocked_tags":["ad"]}', b'{"blocked_tags":[]}'
    heeded = PageUpdate("u", first.history, b"page", None, None, wish)
    assert await readers.write_pages([heeded]) == []
    assert (await readers.read(["u", "v"], [])).preferences == [wish, None]
    # Whoever read before that is told: on a click, on a visit, with another wish.
    click = update("u", first.history, 2)
    assert (await readers.write([click, update("v", None, 1)])).lost == {"u"}
    assert await readers.write_pages([PageUpdate("u", first.history, b"old")]) == [0]
    assert await readers.write_pages([heeded._replace(preferences=later)]) == [0]
    assert await client.get(keys.recs("u")) == b"page"
    # What is heeded lives as long as what the reader clicked last.
    await client.pexpire(keys.preferences("u"), 10_000)
    assert (await readers.write([click._replace(preferences=wish)])).lost == set()
    assert 10_000 < await client.pttl(keys.preferences("u")) <= TTL_MS
    lifted = PageUpdate("u", click.history, b"new", None, wish, later)
    assert await readers.write_pages([lifted]) == []
    assert await client.get(keys.preferences("u")) == later


async def test_preferences_are_heeded_by_who_has_not_heard_of_any(
    readers: ReaderStore, client: Client
) -> None:
    """Two keys a reader are not asked for before anybody has them: noted, or met in a race."""
    other = ReaderStore(client, TTL_MS, "v1")
    assert (await readers.read(["u"], [])).preferences == [None]
    await other.write_pages([PageUpdate("u", None, b"page", None, None, b"wish")])
    # Read before there was a note, written after.
    assert (await readers.write([update("u", None, 1)])).lost == {"u"}
    assert (await readers.read(["u"], [])).preferences == [b"wish"]
    # The note has expired; preferences are kept alive by clicks.
    await client.delete(keys.KEPT_BESIDE)
    store = ReaderStore(client, TTL_MS, "v1")
    assert (await store.read(["u"], [])).preferences == [None]
    assert await store.write_pages([PageUpdate("u", None, b"new")]) == [0]
    assert (await store.read(["u"], [])).preferences == [b"wish"]
    await other.write_showings([ShownUpdate("v", None, b"showings", b"")])
    held = await ReaderStore(client, TTL_MS, "v1").read(["u", "v"], [])
    assert (held.showings, held.preferences) == ([None, b"showings"], [b"wish", None])
    assert 0 < await client.pttl(keys.KEPT_BESIDE) <= TTL_MS


async def test_readers_wait_for_an_unknown_article(readers: ReaderStore, client: Client) -> None:
    ref = article_ref("late")
    result = await readers.write([update("u", None, 1, unknown=(ref,))])
    assert result.appeared == set()
    assert await readers.waiting([ref, article_ref("x")]) == {ref: {"u"}}
    await readers.done_waiting({ref: {"u"}})
    assert await readers.waiting([ref]) == {}
    await client.set(keys.encoded(ref, "v1"), b"")
    assert (await readers.write([update("v", None, 1, unknown=(ref,))])).appeared == {ref}


async def test_a_forgotten_script_is_loaded_again(readers: ReaderStore, client: Client) -> None:
    await readers.write([update("u", None, 1)])
    await client.script_flush()
    assert (await readers.write([update("v", None, 1)])).lost == set()


async def test_another_worker_learns_what_changed(client: Client) -> None:
    store = ArticleStore(client, TTL_MS, "v1")
    articles = [EncodedArticle(f"a{i}", "v1", b"\0" * 8, [], None) for i in range(3)]
    await store.put([b'{"article_id":"a0"}', b"{}", b"{}"], articles)
    changes = await store.changes(0)
    assert changes.article_ids == ["a0", "a1", "a2"]
    assert await store.encoded(changes.article_ids) == articles
    assert (await store.changes(changes.position)).article_ids == []
    await store.put([b"{}"], articles[1:2])
    assert (await store.changes(changes.position)).article_ids == ["a1"]


async def test_a_withdrawn_article_keeps_its_encoding_and_loses_its_text(client: Client) -> None:
    store = ArticleStore(client, TTL_MS, "v1")
    article = EncodedArticle("a{0}", "v1", b"\0" * 8, [], None)
    await store.put([b'{"article_id":"a{0}"}'], [article])
    position = (await store.changes(0)).position
    await store.withdraw(["a{0}", "unknown"])
    changes = await store.changes(position)
    assert changes.article_ids == ["a{0}", "unknown"]
    assert await store.withdrawn(["a{0}", "unknown", "other"]) == [True, True, False]
    assert await store.encoded(["a{0}"]) == [article]
    assert await store.texts(["a{0}"]) == [None]
    assert 0 < await client.pttl(keys.withdrawn("a{0}")) <= TTL_MS
    await store.put([b"{}"], [article])
    assert await store.withdrawn(["a{0}"]) == [False]
    assert (await store.changes(changes.position)).article_ids == ["a{0}"]


async def test_an_emptied_redis_is_followed_from_the_start(client: Client) -> None:
    store = ArticleStore(client, TTL_MS, "v1")
    articles = [EncodedArticle(f"a{i}", "v1", b"\0" * 8, [], None) for i in range(3)]
    await store.put([b"{}"] * 3, articles)
    position = (await store.changes(0)).position
    await client.flushall()
    await store.put([b"{}"], articles[:1])
    assert (await store.changes(position)).article_ids == ["a0"]


async def test_each_model_has_encodings_of_its_own(client: Client) -> None:
    one, other = ArticleStore(client, TTL_MS, "v1"), ArticleStore(client, TTL_MS, "v2")
    article = EncodedArticle("a", "v1", b"\0" * 8, [], None)
    await one.put([b'{"article_id":"a"}'], [article])
    assert await other.encoded(["a"]) == [None]
    assert [each and each.article_id for each in await other.articles(["a", "b"])] == ["a", None]


async def test_a_full_redis_is_something_to_wait_for(readers: ReaderStore, client: Client) -> None:
    await readers.write([update("u", None, 1)])
    limit = {"target_nodes": "primaries"} if isinstance(client, RedisCluster) else {}
    await client.config_set("maxmemory", "1", **limit)
    try:
        with pytest.raises(redis.exceptions.RedisError) as caught:
            await readers.write([update("v", None, 1)])
        assert is_transient(caught.value)
    finally:
        await client.config_set("maxmemory", "0", **limit)
    assert (await readers.write([update("v", None, 1)])).lost == set()


async def test_a_key_of_another_kind_is_not(readers: ReaderStore, client: Client) -> None:
    await client.lpush(keys.history("u"), "x")
    with pytest.raises(redis.exceptions.RedisError) as caught:
        await readers.write([update("u", None, 1)])
    assert not is_transient(caught.value)


async def test_an_objection_to_profiling_does_not_expire(
    readers: ReaderStore, client: Client
) -> None:
    """A reader who was away for long has not changed their mind."""
    objection = b'{"user_id":"u","timestamp":1,"profiling":false}'
    await readers.write_pages([PageUpdate("u", None, b"page", None, None, objection)])
    assert await client.pttl(keys.preferences("u")) == -1
    click = update("u", None, 1)._replace(preferences=objection, profile=b"")
    assert (await readers.write([click])).lost == set()
    assert await client.pttl(keys.preferences("u")) == -1
    assert await client.get(keys.profile("u")) is None
    lifted = b'{"user_id":"u","timestamp":2,"profiling":true}'
    page = PageUpdate("u", click.history, b"page", None, objection, lifted)
    assert await readers.write_pages([page]) == []
    assert 0 < await client.pttl(keys.preferences("u")) <= TTL_MS
