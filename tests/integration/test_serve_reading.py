"""The API's answers from Redis: records, conditional requests, errors, who may ask."""

import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
import redis
from aiohttp import ClientSession
from yarl import URL

from schemas import keys
from schemas.preferences import pack_preferences
from schemas.records import Article, Preferences, Profile, Recommendation
from tests.integration.serving_site import put_article, put_page, put_profile, served
from worker.local.redis_server import start_redis
from worker.local.server import RunningServer, free_port
from worker.serve.records import DemoReaders, Page
from worker.settings import Settings

TOKEN = "a-token-of-the-tests"
PROBLEM = "urn:frontpage:problem:"


@pytest.fixture
def settings(redis_server: RunningServer, tmp_path: Path) -> Settings:
    kafka = f"127.0.0.1:{free_port()}"  # where nobody is: reading does not need it
    return Settings(redis_url=redis_server.url, bundle=tmp_path / "none", kafka_bootstrap=kafka)


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[ClientSession]:
    async with served(settings) as found:
        yield found


async def problem_of(client: ClientSession, method: str, path: str, **options: Any) -> str:
    """Return status and type of the problem that answers a request."""
    async with client.request(method, path, **options) as answer:
        assert answer.content_type == "application/problem+json"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        found = await answer.json(content_type=None)
        assert found["status"] == answer.status
        assert found["type"].startswith(PROBLEM)
        return f"{answer.status} {found['type'].removeprefix(PROBLEM)}"


async def test_profile_page_wishes_and_article_are_what_is_stored(
    client: ClientSession, store: "redis.Redis"
) -> None:
    profile, page = put_profile(store, "42"), put_page(store, "42", ["a1", "a2"])
    article = put_article(store, "a1")
    wishes = Preferences(user_id="42", timestamp=7, blocked_tags=["sport"], profiling=False)
    store.set(keys.preferences("42"), pack_preferences(wishes))
    for path, kind, stored in (
        ("/v1/readers/42/preferences", Preferences, wishes),
        ("/v1/readers/42/profile", Profile, profile),
        ("/v1/readers/42/recommendations", Recommendation, page),
        ("/v1/articles/a1", Article, article),
    ):
        async with client.get(path) as answer:
            assert answer.status == 200
            assert answer.content_type == "application/json"
            assert msgspec.json.decode(await answer.read(), type=kind) == stored


@pytest.mark.parametrize(
    "user_id", ["a}b", "{x}", "50%", "%7B", "%2F", "a/b c?d#e", "读者", "..", "."]
)
async def test_any_id_names_its_own_reader(
    client: ClientSession, store: "redis.Redis", user_id: str
) -> None:
    stored = put_profile(store, user_id)
    # Dots alone are steps in a path, whatever a client does; they are to be encoded, too.
    encoded = quote(user_id, safe="").replace(".", "%2E")
    path = f"/v1/readers/{encoded}/profile"
    async with client.get(URL(path, encoded=True)) as answer:
        assert answer.status == 200, await answer.text()
        assert msgspec.json.decode(await answer.read(), type=Profile) == stored


async def test_a_page_names_its_articles_where_asked_and_nothing_withdrawn(
    client: ClientSession, store: "redis.Redis"
) -> None:
    page = put_page(store, "42", ["a1", "a2", "a3"])
    article = put_article(store, "a1")
    store.set(keys.withdrawn("a2"), b"1")
    path = "/v1/readers/42/recommendations"
    async with client.get(path) as answer:
        plain = msgspec.json.decode(await answer.read(), type=Recommendation)
    assert plain.items == [page.items[0], page.items[2]]
    async with client.get(path, params={"articles": "true"}) as answer:
        full = msgspec.json.decode(await answer.read(), type=Page)
        raw = await answer.json()
    assert raw["items"][0]["article"] == {
        "title": article.title,
        "tags": ["economy"],
        "published_at": "2026-01-02T03:04:05Z",
        "language": "en",
    }
    assert [item.article_id for item in full.items] == ["a1", "a3"]
    assert raw["items"][1]["article"] is None
    assert await problem_of(client, "GET", f"{path}?articles=1") == "400 invalid-request"


async def test_what_was_read_of_articles_holds_until_one_changes(
    client: ClientSession, store: "redis.Redis"
) -> None:
    put_page(store, "42", ["a1", "a2"])
    put_article(store, "a1")
    store.set(keys.CATALOGUE_SEQUENCE, 1)

    async def page() -> list[Any]:
        async with client.get("/v1/readers/42/recommendations?articles=true") as answer:
            return (await answer.json())["items"]  # type: ignore[no-any-return]

    assert [item["article"] is None for item in await page()] == [False, True]
    calls = store.info("commandstats")["cmdstat_mget"]["calls"]
    await page()
    assert store.info("commandstats")["cmdstat_mget"]["calls"] == calls + 1
    put_article(store, "a2")
    store.set(keys.withdrawn("a1"), b"1")
    store.incr(keys.CATALOGUE_SEQUENCE)  # as workers do after each change
    (left,) = await page()
    assert (left["article_id"], left["article"]["title"]) == ("a2", "title of a2")


async def test_who_has_it_already_is_told_so(client: ClientSession, store: "redis.Redis") -> None:
    put_profile(store, "42")
    path = "/v1/readers/42/profile"
    async with client.get(path) as answer:
        tag = answer.headers["ETag"]
        assert answer.headers["Cache-Control"] == "private, no-cache"
    async with client.get(path, headers={"If-None-Match": f'"other", {tag}'}) as answer:
        assert answer.status == 304
        assert await answer.read() == b""
        assert answer.headers["ETag"] == tag
    put_profile(store, "42", years=41.0)
    async with client.get(path, headers={"If-None-Match": tag}) as answer:
        assert answer.status == 200
        assert answer.headers["ETag"] != tag


async def test_head_and_gzip(settings: Settings, store: "redis.Redis") -> None:
    put_article(store, "a1")
    async with served(settings) as client:
        async with client.get("/v1/articles/a1", headers={"Accept-Encoding": "identity"}) as plain:
            body, tag = await plain.read(), plain.headers["ETag"]
            assert "Content-Encoding" not in plain.headers
        async with client.head("/v1/articles/a1") as answer:
            assert answer.status == 200
            assert await answer.read() == b""
            assert answer.headers["ETag"] == tag
    async with served(settings) as client, ClientSession(auto_decompress=False) as raw:
        headers = {"Accept-Encoding": "br;q=1, gzip"}
        async with raw.get(client._build_url("/v1/articles/a1"), headers=headers) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert answer.headers["ETag"] == tag
            packed = await answer.read()
    assert gzip.decompress(packed) == body
    assert len(packed) < len(body) / 2


async def test_errors_are_problems(client: ClientSession, store: "redis.Redis") -> None:
    put_article(store, "a2")
    store.set(keys.withdrawn("a2"), b"1")
    long_id = "x" * 513
    for method, path, expected in (
        ("GET", "/v1/readers/nobody/profile", "404 not-found"),
        ("GET", "/v1/readers/nobody/recommendations", "404 not-found"),
        ("GET", "/v1/readers/nobody/preferences", "404 not-found"),
        ("GET", "/v1/articles/none", "404 not-found"),
        ("GET", "/v1/articles/a2", "410 withdrawn"),
        ("GET", f"/v1/readers/{long_id}/profile", "400 invalid-request"),
        ("GET", "/v1/readers", "404 not-found"),
        ("GET", "/v1/demo/readers", "404 not-found"),
        ("GET", "/nothing.js", "404 not-found"),
        ("GET", "/..%2fsite.py", "404 not-found"),
        ("PUT", "/v1/clicks", "405 method-not-allowed"),
    ):
        assert await problem_of(client, method, path) == expected


async def test_without_redis_there_is_an_answer(settings: Settings, tmp_path: Path) -> None:
    with start_redis(tmp_path) as server:
        gone = msgspec.structs.replace(settings, redis_url=server.url)
        async with served(gone) as client:
            server.stop()
            for path in ("/v1/readers/42/profile", "/v1/readers/42/events"):
                async with client.get(path) as answer:
                    assert answer.status == 503
                    assert answer.headers["Retry-After"] == "1"
                    assert "42" not in await answer.text()


async def test_the_page_is_served_without_inline_code(client: ClientSession) -> None:
    async with client.get("/") as answer:
        text = await answer.text()
        assert answer.content_type == "text/html"
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "<style" not in text and "<script>" not in text and " style=" not in text
    for name in ("page.js", "page.css"):
        async with client.get(f"/{name}") as answer:
            assert answer.status == 200
            assert name in text


async def test_with_a_token_only_who_has_it_reads(settings: Settings, store: "redis.Redis") -> None:
    put_profile(store, "42")
    path = "/v1/readers/42/profile"
    async with served(msgspec.structs.replace(settings, http_token=TOKEN)) as client:
        assert await problem_of(client, "GET", path) == "401 unauthorized"
        wrong = {"Authorization": f"Bearer {TOKEN}x"}
        assert await problem_of(client, "GET", path, headers=wrong) == "401 unauthorized"
        assert await problem_of(client, "DELETE", "/v1/readers/42") == "401 unauthorized"
        right = {"Authorization": f"Bearer {TOKEN}", "Host": "news.example"}
        async with client.get(path, headers=right) as answer:
            assert answer.status == 200
        for public in ("/", "/openapi.json"):
            async with client.get(public) as answer:
                assert answer.status == 200


async def test_without_a_token_another_name_of_this_machine_is_refused(
    client: ClientSession, store: "redis.Redis"
) -> None:
    put_profile(store, "42")
    path = "/v1/readers/42/profile"
    headers = {"Host": "evil.example:80"}
    assert await problem_of(client, "GET", path, headers=headers) == "403 forbidden"
    async with client.get(path, headers={"Host": "localhost:80"}) as answer:
        assert answer.status == 200


async def test_what_changes_something_does_not_come_from_elsewhere(client: ClientSession) -> None:
    body = json.dumps({"timestamp": 1})
    for method, path, headers, expected in (
        ("POST", "/v1/clicks", {"Content-Type": "text/plain"}, "415 unsupported-media-type"),
        ("POST", "/v1/readers/42/visits", {}, "415 unsupported-media-type"),
        ("DELETE", "/v1/readers/42", {"Origin": "https://evil.example"}, "403 forbidden"),
        ("DELETE", "/v1/readers/42", {"Origin": "null"}, "403 forbidden"),
        (
            "POST",
            "/v1/clicks",
            {"Content-Type": "application/json", "Origin": "https://evil.example"},
            "403 forbidden",
        ),
    ):
        assert await problem_of(client, method, path, headers=headers, data=body) == expected
    async with client.options("/v1/clicks", headers={"Origin": "https://evil.example"}) as answer:
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_readers_are_listed_in_a_demo_only(settings: Settings, store: "redis.Redis") -> None:
    for age in range(20, 60):
        put_profile(store, f"r{age}", years=float(age))
    async with (
        served(settings, demo=True, demo_readers=("r33", "unknown")) as client,
        client.get("/v1/demo/readers") as answer,
    ):
        found = msgspec.json.decode(await answer.read(), type=DemoReaders)
    ages = [reader.age_years for reader in found.readers]
    assert ages[0] == 33.0
    assert len(ages) == len(set(ages)) == 12
    assert ages[1:] == sorted(ages[1:])
    assert (ages[1], ages[-1]) == (20.0, 59.0)
    assert found.now_ms == 1767323045000
