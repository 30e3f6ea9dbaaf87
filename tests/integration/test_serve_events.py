"""Server-sent events: what there is, what changes, and nothing twice."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import redis
from aiohttp import ClientResponse, ClientSession

from schemas import keys
from schemas.records import Profile
from tests.integration.serving_site import put_article, put_page, put_profile, served
from worker.local.server import RunningServer, free_port
from worker.serve import events, live
from worker.settings import Settings

WAIT_S = 5.0


class Event(NamedTuple):
    name: str
    id: str
    data: Any


@pytest.fixture
def settings(redis_server: RunningServer, tmp_path: Path) -> Settings:
    return Settings(
        redis_url=redis_server.url,
        bundle=tmp_path / "none",
        kafka_bootstrap=f"127.0.0.1:{free_port()}",
    )


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[ClientSession]:
    async with served(settings) as found:
        yield found


async def block(stream: ClientResponse) -> list[str]:
    """Return the lines up to the next empty one."""
    lines: list[str] = []
    async with asyncio.timeout(WAIT_S):
        while line := (await stream.content.readline()).decode().rstrip("\n"):
            lines.append(line)
    return lines


async def event(stream: ClientResponse) -> Event:
    """Return the next event, whatever else comes before it."""
    while True:
        fields = dict(line.split(": ", 1) for line in await block(stream))
        if "event" in fields:
            return Event(fields["event"], fields["id"], msgspec.json.decode(fields["data"]))


async def test_what_there_is_comes_at_once_and_then_what_changes(
    client: ClientSession, store: "redis.Redis"
) -> None:
    put_profile(store, "42")
    put_page(store, "42", ["a1"])
    put_article(store, "a1")
    async with client.get("/v1/readers/42/events?articles=true") as stream:
        assert stream.content_type == "text/event-stream"
        assert stream.headers["Cache-Control"] == "private, no-store"
        first, second = await event(stream), await event(stream)
        assert (first.name, first.data["age"]["years"]) == ("profile", 40.0)
        assert second.name == "recommendations"
        assert second.data["items"][0]["article"]["title"] == "title of a1"
        changed = put_profile(store, "42", years=44.0)
        third = await event(stream)
        assert msgspec.convert(third.data, Profile) == changed
        assert third.id != second.id
        store.delete(keys.profile("42"), keys.recs("42"))  # erased
        gone = [await event(stream), await event(stream)]
        assert [(each.name, each.data) for each in gone] == [
            ("profile", None),
            ("recommendations", None),
        ]


async def test_who_comes_back_is_sent_what_is_new_since(
    client: ClientSession, store: "redis.Redis"
) -> None:
    put_profile(store, "42")
    put_page(store, "42", ["a1"])
    async with client.get("/v1/readers/42/events") as stream:
        await event(stream)
        last = (await event(stream)).id
    put_page(store, "42", ["a2"])
    headers = {"Last-Event-ID": last}
    async with client.get("/v1/readers/42/events", headers=headers) as stream:
        found = await event(stream)
        assert found.name == "recommendations"
        assert found.data["items"][0]["article_id"] == "a2"


async def test_one_question_for_all_who_watch(client: ClientSession, store: "redis.Redis") -> None:
    readers = [f"r{number}" for number in range(20)]
    streams = [await client.get(f"/v1/readers/{each}/events") for each in (*readers, "r0")]
    for stream in streams:
        assert [(await event(stream)).data, (await event(stream)).data] == [None, None]
    calls: dict[str, Any] = store.info("commandstats")
    put_profile(store, "r0")
    for stream in (streams[0], streams[-1]):
        assert (await event(stream)).data["user_id"] == "r0"
    await asyncio.sleep(4 * live.POLL_S)
    later: dict[str, Any] = store.info("commandstats")
    asked = later["cmdstat_mget"]["calls"] - calls["cmdstat_mget"]["calls"]
    assert 2 <= asked <= 10  # a quarter of a second each, for 20 readers
    for stream in streams:
        stream.close()


async def test_a_silent_stream_is_kept_alive_and_ends_with_the_server(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.1)
    async with ClientSession() as client:
        async with served(settings) as other:
            stream = await client.get(other._build_url("/v1/readers/42/events"))
            await event(stream)
            await event(stream)
            assert await block(stream) == [": still here"]
            started = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - started < 1.0  # nobody waits for it to end
        await stream.content.read()  # it has ended as streams do: otherwise this would raise


async def test_no_more_streams_than_there_is_room_for(
    client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MAX_WATCHERS", 1)
    async with client.get("/v1/readers/42/events") as stream:
        await event(stream)
        async with client.get("/v1/readers/43/events") as answer:
            assert answer.status == 503
            assert (await answer.json(content_type=None))["type"].endswith(":busy")
