"""Who may use an HTTP endpoint."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from schemas.errors import SettingsError
from worker.http_access import access_middleware, check_access
from worker.settings import read_settings

TOKEN = "a-token-of-the-tests"


def test_elsewhere_than_on_loopback_a_token_is_needed() -> None:
    for host in ("127.0.0.1", "::1", "localhost"):
        check_access("METRICS_HOST", host, None)
    for host in ("0.0.0.0", "::", "10.0.0.1", "worker.example"):
        check_access("METRICS_HOST", host, TOKEN)
        with pytest.raises(SettingsError, match=r"METRICS_HOST: .*HTTP_TOKEN"):
            check_access("METRICS_HOST", host, None)


@pytest.mark.parametrize("token", ["short", "with white space in it", "ending-in-a-newline-\n"])
def test_a_token_is_long_and_fits_a_header(token: str) -> None:
    with pytest.raises(SettingsError, match="FRONTPAGE_HTTP_TOKEN") as caught:
        read_settings({"FRONTPAGE_HTTP_TOKEN": token})
    assert token not in str(caught.value)


async def _answer(_: web.Request) -> web.Response:
    return web.Response(text="answer")


@pytest.fixture
async def guarded() -> AsyncIterator[TestClient[web.Request, web.Application]]:
    async with TestClient(TestServer(_app(TOKEN))) as client:
        yield client


def _app(token: str | None) -> web.Application:
    app = web.Application(middlewares=[access_middleware(token, ("/live",))])
    app.router.add_get("/metrics", _answer)
    app.router.add_get("/live", _answer)
    return app


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer  {TOKEN}", 200),
        (f"Bearer {TOKEN}x", 401),
        (f"Basic {TOKEN}", 401),
        (TOKEN, 401),
        ("Bearer ü", 401),
        ("Bearer", 401),
        ("", 401),
    ],
)
async def test_only_who_has_the_token_is_answered(
    guarded: TestClient[web.Request, web.Application], header: str, status: int
) -> None:
    async with guarded.get("/metrics", headers={"Authorization": header}) as answer:
        assert answer.status == status
        assert (await answer.text() == "answer") is (status == 200)


async def test_an_open_path_is_open_and_another_is_not(
    guarded: TestClient[web.Request, web.Application],
) -> None:
    async with guarded.get("/live") as answer:
        assert answer.status == 200
    async with guarded.get("/metrics") as answer:
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    async with guarded.get("/nothing-there") as answer:  # tells nobody what there is
        assert answer.status == 401


async def test_without_a_token_a_page_in_a_browser_cannot_pass_for_this_machine() -> None:
    async with TestClient(TestServer(_app(None))) as client:
        for host, status in (("localhost:80", 200), ("[::1]:80", 200), ("evil.example:80", 403)):
            async with client.get("/metrics", headers={"Host": host}) as answer:
                assert answer.status == status
