"""Erasing readers on real Redis: nothing of them is left, and nothing of before comes back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas import keys
from schemas.errors import UnavailableError
from schemas.history import article_ref, merge, pack_entry
from schemas.preferences import pack_preferences
from schemas.records import Preferences
from worker.bygone import CLOCKS_DIFFER_MS
from worker.commands import with_redis
from worker.erasure_store import ErasureStore
from worker.kept import export_reader, kept_of
from worker.local.redis_server import start_redis
from worker.reader_store import PageUpdate, ReaderStore, ReaderUpdate, ShownUpdate
from worker.redis_client import Client
from worker.settings import Settings

TTL_MS = 60_000
NOW_MS = 10_000_000
USER = "reader {42}%\n漢"
LATE = article_ref("late")


@pytest.fixture
def readers(client: Client) -> ReaderStore:
    return ReaderStore(client, TTL_MS, "v1")


@pytest.fixture
def erasures(client: Client) -> ErasureStore:
    return ErasureStore(client, TTL_MS, None)


def update(
    user_id: str, held: bytes | None, *clicks: int, mark: bytes | None = None
) -> ReaderUpdate:
    entries = [pack_entry(time, f"e{time}", article_ref("a")) for time in clicks]
    history = merge(held, entries, 8)
    return ReaderUpdate(user_id, held, history, b'{"p":1}', b'{"r":1}', [LATE], mark=mark)


def test_an_error_of_redis_does_not_say_whose(tmp_path: Path) -> None:
    with start_redis(tmp_path) as found:
        settings = Settings(redis_url=found.url)
        with_redis(settings, lambda client: client.set(keys.waiting(LATE, "v1"), "not a set"))
        with pytest.raises(UnavailableError, match="WRONGTYPE") as caught:
            with_redis(settings, lambda client: export_reader(client, "alice"))
    assert "alice" not in str(caught.value)


def wish(user_id: str, time_ms: int) -> bytes:
    return pack_preferences(Preferences(user_id=user_id, timestamp=time_ms, blocked_tags=["x"]))


async def everything(client: Client) -> bytes:
    """Return every key and value, of any kind."""
    dump: dict[bytes, Any] = {}
    async for name in client.scan_iter():
        kind = await client.type(name)
        if kind == b"zset":
            dump[name] = await client.zrange(name, 0, -1)
        else:
            dump[name] = await (client.get if kind == b"string" else client.smembers)(name)
    return b"\n".join(part for pair in dump.items() for part in _flat(pair))


def _flat(value: Any) -> Iterator[bytes]:
    if isinstance(value, bytes):
        yield value
    else:
        for each in value:
            yield from _flat(each)


async def fill(readers: ReaderStore, user_id: str) -> ReaderUpdate:
    """Hold something of every kind."""
    first = update(user_id, None, 100, 200)
    assert (await readers.write([first])).lost == set()
    assert await readers.write_showings([ShownUpdate(user_id, None, first.history, b"")]) == []
    page = PageUpdate(user_id, first.history, b'{"r":2}', None, None, wish(user_id, 150))
    assert await readers.write_pages([page]) == []
    await readers.set_aside(user_id, b"\x09unreadable")
    return first


async def test_nothing_of_an_erased_reader_is_left(
    readers: ReaderStore, erasures: ErasureStore, client: Client
) -> None:
    await fill(readers, USER)
    other = await fill(readers, "reader 43")
    assert len(await kept_of(client, USER)) == 7
    left = await erasures.erase({USER: 300}, NOW_MS)
    assert left == (set(), set())
    assert await kept_of(client, USER) == []
    dump = await everything(client)
    assert USER.encode() not in dump and keys.tag_of(USER).encode() not in dump
    # Nobody else lost anything.
    assert len(await kept_of(client, "reader 43")) == 7
    assert (await readers.read(["reader 43"], [])).histories == [other.history]
    assert (await readers.read([USER], [])).marks == [b"300"]
    assert await client.pttl(keys.ERASURE_SECRET) == -1


@pytest.mark.parametrize("anybody_was_erased", [False, True])
async def test_who_read_before_an_erasure_does_not_write_after_it(
    readers: ReaderStore, erasures: ErasureStore, client: Client, anybody_was_erased: bool
) -> None:
    """Also of a reader of whom nothing was held, so that nothing but the mark has changed."""
    if anybody_was_erased:
        await erasures.erase({"somebody": 1}, NOW_MS)
    held = await readers.read(["new", "other"], [])
    assert held.histories == [None, None]
    await erasures.erase({"new": 300}, NOW_MS)
    slow = [update("new", None, 100), update("other", None, 100)]
    first_ever = not anybody_was_erased and not readers.is_cluster
    assert (await readers.write(slow)).lost == ({"new", "other"} if first_ever else {"new"})
    assert await readers.write_pages([PageUpdate("new", None, b"page")]) == [0]
    assert await readers.write_showings([ShownUpdate("new", None, slow[0].history, b"")]) == [0]
    assert await kept_of(client, "new") == []
    held = await readers.read(["new", "other"], [])
    assert held.marks == [b"300", None]
    # What is newer than the erasure begins a new history.
    again = update("new", None, 301, mark=b"300")
    assert (await readers.write([again])).lost == set()
    assert (await readers.read(["new"], [])).histories == [again.history]


async def test_an_erasure_that_is_done_again_keeps_who_came_back(
    readers: ReaderStore, erasures: ErasureStore
) -> None:
    await fill(readers, USER)
    await erasures.erase({USER: 300}, NOW_MS)
    await readers.read([USER], [])
    back = update(USER, None, 301, mark=b"300")
    await readers.write([back])
    left = await erasures.erase({USER: 300}, NOW_MS)
    assert left == ({USER}, set())
    await erasures.erase({USER: 200}, NOW_MS)
    assert (await readers.read([USER], [])).histories == [back.history]
    await erasures.erase({USER: 400}, NOW_MS)
    held = await readers.read([USER], [])
    assert (held.histories, held.marks) == ([None], [b"400"])


async def test_what_is_clearly_later_stays_when_clicks_were_processed_first(
    readers: ReaderStore, erasures: ErasureStore
) -> None:
    later = 300 + CLOCKS_DIFFER_MS + 1
    # A click just after the erasure was made before it, by a clock that is fast; so was one ahead.
    first = update(USER, None, 100, 301, later, NOW_MS + 1)
    await readers.write([first])
    left = await erasures.erase({USER: 300}, NOW_MS)
    assert left == ({USER}, set())
    assert (await readers.read([USER], [])).histories == [update(USER, None, later).history]


async def test_a_reader_who_changes_while_being_erased_is_erased(
    readers: ReaderStore, erasures: ErasureStore, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker stores a click between the read and the script."""
    first = await fill(readers, USER)
    from worker import erasure_store

    read = erasure_store.get_many
    clicks = [update(USER, first.history, 250)._replace(preferences=wish(USER, 150))]

    async def interrupted(*arguments: Any) -> Any:
        held = await read(*arguments)
        while clicks:
            await readers.read([USER], [])
            assert (await readers.write([clicks.pop()])).lost == set()
        return held

    monkeypatch.setattr(erasure_store, "get_many", interrupted)
    await erasures.erase({USER: 300}, NOW_MS)
    assert await kept_of(client, USER) == []


async def test_an_emptied_redis_forgets_the_marks_and_draws_another_secret(
    readers: ReaderStore, erasures: ErasureStore, client: Client
) -> None:
    await erasures.erase({USER: 300}, NOW_MS)
    assert (await readers.read([USER], [])).marks == [b"300"]
    await client.flushall()
    assert (await readers.read([USER], [])).marks == [None]
    slow = update(USER, None, 100)
    await ErasureStore(client, TTL_MS, None).erase({USER: 300}, NOW_MS)
    assert (await readers.write([slow])).lost == {USER}
    assert (await readers.read([USER], [])).marks == [b"300"]


async def test_marks_live_as_long_as_they_are_told_to(client: Client) -> None:
    await ErasureStore(client, TTL_MS, 50_000).erase({USER: 300}, NOW_MS)
    secret: Any = await client.get(keys.ERASURE_SECRET)
    for name in (keys.erased(USER, secret), keys.ERASURE_SECRET):
        assert TTL_MS - 11_000 < await client.pttl(name) <= 50_000


async def test_all_that_is_held_is_exported(
    readers: ReaderStore, erasures: ErasureStore, client: Client
) -> None:
    await erasures.erase({USER: 50}, NOW_MS)
    await readers.read([USER], [])
    before = update(USER, None, 100, 200, mark=b"50")
    await readers.write([before])
    await client.zadd(keys.CATALOGUE_INDEX, {"a": 1})
    dump = await everything(client)
    found = await export_reader(client, USER)
    assert [(each.timestamp.timestamp(), each.article_id) for each in found.clicks] == [
        (0.2, "a"),
        (0.1, "a"),
    ]
    assert found.erased_at is not None and found.erased_at.timestamp() == 0.05
    assert (bytes(found.profile or b""), bytes(found.recommendation or b"")) == (
        b'{"p":1}',
        b'{"r":1}',
    )
    assert found.waits_for == [LATE.hex()]
    assert (found.showings, found.preferences, found.unreadable) == ([], None, None)
    assert await everything(client) == dump
    nobody = await export_reader(client, "nobody")
    assert (nobody.clicks, nobody.profile, nobody.erased_at) == ([], None, None)
