"""What the API publishes: clicks, visits, preferences, erasures; acknowledged by a real broker."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession

from schemas.decode import decode_erasure, decode_preferences, decode_visit
from schemas.records import MAX_BLOCKED_ARTICLES, MAX_BLOCKED_TAGS, Preferences
from tests.integration.serving_site import messages, served, with_topics
from tests.kafka_broker import TestBroker
from worker.local.server import free_port
from worker.serve import publishing, site
from worker.serve.records import MAX_SESSION_CLICKS, ClicksAccepted
from worker.serve.routes import ROUTES
from worker.serve.site import MAX_BODY_BYTES
from worker.settings import Settings

NOW_MS = int(time.time() * 1000)
TRACED = [route for route in ROUTES if route.is_traced]
NO_REDIS = f"redis://127.0.0.1:{free_port()}"  # publishing does not need it


@pytest.fixture
def settings(kafka: TestBroker, tmp_path: Path) -> Settings:
    return with_topics(
        Settings(
            kafka_bootstrap=kafka.bootstrap_servers,
            redis_url=NO_REDIS,
            bundle=tmp_path / "none",
        )
    )


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[ClientSession]:
    async with served(settings) as found:
        yield found


def click(user_id: str, **changes: Any) -> dict[str, Any]:
    return {"user_id": user_id, "article_id": "a1", "timestamp": NOW_MS, **changes}


async def test_a_click_arrives_as_it_was_sent(client: ClientSession, settings: Settings) -> None:
    sent = json.dumps(click("读者", event_id="e1", of_mine=[1, {"x": None}]))
    headers = {"Content-Type": "application/json"}
    async with client.post("/v1/clicks", data=sent, headers=headers) as answer:
        assert answer.status == 202
        found = msgspec.json.decode(await answer.read(), type=ClicksAccepted)
    assert found == ClicksAccepted(accepted=1, skipped=0, rejected=0, errors=[])
    (message,) = await asyncio.to_thread(messages, settings, settings.topic_clicks, 1)
    assert (message.key(), message.value()) == ("读者".encode(), sent.encode())


@pytest.mark.parametrize("is_on", [False, True])
async def test_a_trace_goes_on_from_requests_where_that_is_set(
    settings: Settings, is_on: bool
) -> None:
    parent = f"00-{'4b' * 16}-{'f0' * 8}-01"
    sent = {"Traceparent": parent, "Tracestate": "a=1"}
    async with served(msgspec.structs.replace(settings, trace=is_on)) as client:
        for route in TRACED:
            body = click("u") if route.operation == "publishClicks" else {}
            path = route.path.replace("{user_id}", "u")
            async with client.request(route.method, path, json=body, headers=sent) as answer:
                assert answer.status == 202
    expected = [("traceparent", parent.encode()), ("tracestate", b"a=1")] if is_on else None
    topics = (settings.topic_clicks, settings.topic_visits, settings.topic_preferences)
    assert len(topics) == len(TRACED)
    for topic in topics:
        (message,) = await asyncio.to_thread(messages, settings, topic, 1)
        assert message.headers() == expected


async def test_each_click_of_many_is_judged_alone(
    client: ClientSession, settings: Settings
) -> None:
    sent = [
        click("r0"),
        click("r1", timestamp=NOW_MS + 2 * 86_400_000),
        click("r2", consent=False),
        {"user_id": "r3"},
        "no click",
        {"article_id": "a9", "title": "an article"},
        click("r6", article_id="x" * 600),
        click("r7", timestamp="2026-01-02T03:04:05+01:00"),
    ]
    async with client.post("/v1/clicks", json=sent) as answer:
        assert answer.status == 202
        found = msgspec.json.decode(await answer.read(), type=ClicksAccepted)
    assert (found.accepted, found.skipped, found.rejected) == (2, 1, 5)
    assert [(each.index, each.reason) for each in found.errors] == [
        (1, "future"),
        (3, "invalid"),
        (4, "invalid"),
        (5, "invalid"),
        (6, "invalid"),
    ]
    assert "article_id" in found.errors[1].detail
    got = await asyncio.to_thread(messages, settings, settings.topic_clicks, 2)
    assert {message.key() for message in got} == {b"r0", b"r7"}


async def test_what_cannot_be_used_at_all_is_refused(client: ClientSession) -> None:
    headers = {"Content-Type": "application/json"}
    for body, status, kind in (
        ("{", 400, "invalid-request"),
        ("", 400, "invalid-request"),
        (b"\xff", 400, "invalid-request"),
        ("[" * 100_000, 400, "invalid-request"),
        ("[{}, 1]", 422, "invalid-messages"),
        (" " * (MAX_BODY_BYTES + 1), 413, "too-large"),
    ):
        async with client.post("/v1/clicks", data=body, headers=headers) as answer:
            found = await answer.json(content_type=None)
            assert (answer.status, found["type"].rpartition(":")[2]) == (status, kind)
    assert MAX_SESSION_CLICKS < 1000
    async with client.post("/v1/clicks", json=[{}] * 1000) as answer:
        assert len((await answer.json(content_type=None))["errors"]) == 100
    async with client.post("/v1/clicks", json=[]) as answer:
        assert (await answer.json())["accepted"] == 0


async def test_a_visit_and_an_erasure_arrive(client: ClientSession, settings: Settings) -> None:
    async with client.post("/v1/readers/a%7Db/visits", json={"timestamp": 7}) as answer:
        assert (answer.status, await answer.json()) == (202, {"timestamp": 7})
    async with client.post("/v1/readers/a%7Db/visits", json={}) as answer:
        assert NOW_MS <= (await answer.json())["timestamp"] <= time.time() * 1000
    async with client.post("/v1/readers/42/visits", json={"timestamp": -1}) as answer:
        assert answer.status == 400
    async with client.delete("/v1/readers/a%7Db") as answer:
        assert answer.status == 202
        asked_ms = (await answer.json())["requested_at"]
    later_ms = int(time.time() * 1000)
    first, _ = await asyncio.to_thread(messages, settings, settings.topic_visits, 2)
    assert first.key() == b"a}b"
    visit = decode_visit(first.value(), later_ms)
    assert (visit.user_id, visit.timestamp) == ("a}b", 7)
    (message,) = await asyncio.to_thread(messages, settings, settings.topic_erasures, 1)
    erasure = decode_erasure(message.value(), later_ms)
    assert (message.key(), erasure.user_id, erasure.requested_at) == (b"a}b", "a}b", asked_ms)
    assert NOW_MS <= asked_ms <= later_ms


async def test_preferences_arrive_as_a_worker_takes_them(
    client: ClientSession, settings: Settings
) -> None:
    path = "/v1/readers/a%7Db/preferences"
    wishes = {"blocked_tags": ["sport", "体育"], "blocked_articles": ["a1"], "profiling": False}
    async with client.put(path, json={**wishes, "timestamp": "1970-01-01T00:00:07Z"}) as answer:
        assert (answer.status, await answer.json()) == (202, {"timestamp": 7000})
    async with client.put(path, json={"user_id": "another", "of_mine": 1}) as answer:
        asked_ms = (await answer.json())["timestamp"]
    later_ms = int(time.time() * 1000)
    assert NOW_MS <= asked_ms <= later_ms
    got = await asyncio.to_thread(messages, settings, settings.topic_preferences, 2)
    assert [message.key() for message in got] == [b"a}b", b"a}b"]
    assert [decode_preferences(message.value(), later_ms) for message in got] == [
        Preferences(user_id="a}b", timestamp=7000, **wishes),
        Preferences(user_id="a}b", timestamp=asked_ms),
    ]


async def test_preferences_that_no_worker_would_take_are_refused(
    client: ClientSession, settings: Settings
) -> None:
    path = "/v1/readers/42/preferences"
    for body in (
        {"blocked_tags": [f"t{number}" for number in range(MAX_BLOCKED_TAGS + 1)]},
        {"blocked_tags": [""]},
        {"blocked_tags": "sport"},
        {"blocked_articles": [f"a{number}" for number in range(MAX_BLOCKED_ARTICLES + 1)]},
        {"blocked_articles": ["读" * 171]},  # 513 bytes
        {"profiling": "no"},
        {"timestamp": -1},
        {"timestamp": NOW_MS + 2 * 86_400_000},
        [],
    ):
        async with client.put(path, json=body) as answer:
            found = await answer.json(content_type=None)
            assert (answer.status, found["type"].rpartition(":")[2]) == (400, "invalid-request")
            assert "sport" not in found["detail"] and "读" not in found["detail"]
    async with client.put(path, data="{}", headers={"Content-Type": "text/plain"}) as answer:
        assert answer.status == 415
    async with client.put(path, json={}, headers={"Origin": "https://evil.example"}) as answer:
        assert answer.status == 403
    async with client.put(path, json={"timestamp": 1}) as answer:
        assert answer.status == 202
    (message,) = await asyncio.to_thread(messages, settings, settings.topic_preferences, 1)
    assert decode_preferences(message.value(), NOW_MS).timestamp == 1


async def test_requests_at_once_share_flushes_and_all_arrive(
    client: ClientSession, settings: Settings
) -> None:
    async def send(number: int) -> int:
        async with client.post("/v1/clicks", json=click(f"r{number}")) as answer:
            return answer.status

    started = time.monotonic()
    assert set(await asyncio.gather(*map(send, range(100)))) == {202}
    assert time.monotonic() - started < 5.0
    got = await asyncio.to_thread(messages, settings, settings.topic_clicks, 100)
    assert {message.key() for message in got} == {f"r{number}".encode() for number in range(100)}


async def test_without_a_broker_nothing_is_said_to_have_arrived(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "ANSWER_S", 0.3)
    nowhere = msgspec.structs.replace(settings, kafka_bootstrap=f"127.0.0.1:{free_port()}")
    async with served(nowhere) as client:
        for method, path, body in (
            ("POST", "/v1/clicks", click("42")),
            ("POST", "/v1/readers/42/visits", {}),
            ("PUT", "/v1/readers/42/preferences", {}),
            ("DELETE", "/v1/readers/42", None),
        ):
            async with client.request(method, path, json=body) as answer:
                assert answer.status == 503
                assert (await answer.json(content_type=None))["type"].endswith(":unavailable")
        stopping = time.monotonic()
    assert time.monotonic() - stopping < 2.0  # nor is it waited for at the end


async def test_a_topic_that_is_missing_is_no_success(
    kafka: TestBroker, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kafka.kind.startswith("embedded"):
        pytest.skip("the embedded broker makes topics as they are named")
    monkeypatch.setattr(site, "DELIVERY_S", 1.0)
    wrong = msgspec.structs.replace(settings, topic_clicks=f"{settings.topic_clicks}-none")
    async with served(wrong) as client, client.post("/v1/clicks", json=click("42")) as answer:
        assert answer.status == 503
