"""Probes of `frontpage serve`, and the health check of its container."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from aiohttp import ClientSession

from schemas.errors import SettingsError, UnavailableError
from tests.integration.serving_site import served
from worker.health import check_server
from worker.local.server import free_port
from worker.serve.site import build_site, serving
from worker.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Neither Redis nor Kafka is there."""
    return Settings(
        redis_url=f"redis://127.0.0.1:{free_port()}",
        kafka_bootstrap=f"127.0.0.1:{free_port()}",
        bundle=tmp_path / "none",
        http_token="a-token-of-the-tests",
        http_port=free_port(),
    )


async def test_probes_need_no_token_and_no_other_service(settings: Settings) -> None:
    async with served(settings) as client:
        for path, status in (("/live", "live"), ("/ready", "ready")):
            # As a kubelet asks: by address, without a token.
            async with client.get(path, headers={"Host": "10.0.0.7:8080"}) as answer:
                assert (answer.status, await answer.json()) == (200, {"status": status})
        async with client.get("/v1/readers/42/profile") as answer:
            assert answer.status == 401


async def test_without_a_token_they_are_for_this_machine(settings: Settings) -> None:
    async with served(msgspec.structs.replace(settings, http_token=None)) as client:
        async with client.get("/live") as answer:
            assert answer.status == 200
        async with client.get("/live", headers={"Host": "evil.example"}) as answer:
            assert answer.status == 403


async def test_the_health_check_asks_the_server(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="FRONTPAGE_HTTP_PORT"):
        check_server(msgspec.structs.replace(settings, http_port=0))
    anywhere = msgspec.structs.replace(settings, http_host="0.0.0.0")
    with pytest.raises(UnavailableError, match="/ready: no answer"):
        check_server(anywhere)
    async with serving(build_site(anywhere), anywhere.http_host, anywhere.http_port):
        await asyncio.to_thread(check_server, anywhere)


async def test_the_health_check_of_a_server_that_loads_says_what_is_missing(
    settings: Settings, bundle: Path
) -> None:
    with_model = msgspec.structs.replace(settings, bundle=bundle)
    async with (
        serving(build_site(with_model), with_model.http_host, with_model.http_port) as running,
        ClientSession(running.address) as client,
    ):
        with pytest.raises(UnavailableError, match=r'/ready: .*"catalogue"'):
            await asyncio.to_thread(check_server, with_model)
        async with client.get("/live") as answer:
            assert answer.status == 200
