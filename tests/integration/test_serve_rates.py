"""Requests that come too fast: refused, with when to come again, and others are not disturbed."""

from pathlib import Path

import msgspec
import pytest
from aiohttp import ClientSession

from tests.integration.serving_site import messages, served, with_topics
from tests.kafka_broker import TestBroker
from worker.local.server import free_port
from worker.settings import Settings

VISITS = "/v1/readers/42/visits"


@pytest.fixture
def settings(kafka: TestBroker, tmp_path: Path) -> Settings:
    """A write in 100 s, and nothing in reserve."""
    return with_topics(
        Settings(
            kafka_bootstrap=kafka.bootstrap_servers,
            redis_url=f"redis://127.0.0.1:{free_port()}",
            bundle=tmp_path / "none",
            http_write_rate=0.01,
        )
    )


async def visit(client: ClientSession, forwarded: str | None = None) -> int:
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    async with client.post(VISITS, json={}, headers=headers) as answer:
        return answer.status


async def test_what_comes_too_fast_is_refused_and_not_published(settings: Settings) -> None:
    async with served(settings) as client:
        assert await visit(client) == 202
        async with client.post(VISITS, json={"timestamp": 1}) as answer:
            assert answer.status == 429
            assert 98 <= int(answer.headers["Retry-After"]) <= 100
            assert answer.content_type == "application/problem+json"
            found = await answer.json(content_type=None)
            assert found["type"] == "urn:frontpage:problem:too-many-requests"
        async with client.delete("/v1/readers/42") as answer:
            assert answer.status == 429
        for path in ("/", "/page.js", "/openapi.json", "/live", "/nothing.js"):
            async with client.get(path) as answer:
                assert answer.status in (200, 404)
        async with client.get("/v1/readers/42/profile") as answer:
            assert answer.status == 503  # Redis is away: reading is not what was too much
    unlimited = msgspec.structs.replace(settings, http_write_rate=0.0)
    async with served(unlimited) as client:
        assert {await visit(client) for _ in range(20)} == {202}
    found_visits = messages(settings, settings.topic_visits, 21)
    assert all(b'"timestamp":1}' not in (each.value() or b"") for each in found_visits)


async def test_reading_has_a_rate_of_its_own(settings: Settings) -> None:
    slow = msgspec.structs.replace(settings, http_read_rate=0.01, http_write_rate=0.0)
    async with served(slow) as client:
        for status in (503, 429):
            async with client.get("/v1/articles/a1") as answer:
                assert answer.status == status
        async with client.head("/v1/articles/a1") as answer:
            assert answer.status == 429
        assert await visit(client) == 202
        async with client.get("/") as answer:
            assert answer.status == 200


async def test_a_client_cannot_make_up_who_it_is(settings: Settings) -> None:
    async with served(settings) as client:
        assert [await visit(client, each) for each in ("192.0.2.1", "192.0.2.2")] == [202, 429]
    behind = msgspec.structs.replace(settings, http_proxies=1)
    async with served(behind) as client:
        # What the proxy has seen stands last.
        named = ("192.0.2.1", "192.0.2.2", "192.0.2.9, 192.0.2.1", "192.0.2.3, 192.0.2.2")
        assert [await visit(client, each) for each in named] == [202, 202, 429, 429]


async def test_who_may_not_ask_uses_up_nothing(settings: Settings) -> None:
    token = "a-token-of-the-tests"
    async with served(msgspec.structs.replace(settings, http_token=token)) as client:
        assert [await visit(client) for _ in range(3)] == [401, 401, 401]
        headers = {"Authorization": f"Bearer {token}"}
        async with client.post(VISITS, json={}, headers=headers) as answer:
            assert answer.status == 202
