"""`frontpage serve` as people start it: from a click over HTTP to a page over HTTP."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import ClientResponse, ClientSession

from tests.e2e.installation import Installation, installation, wait_until
from tests.e2e.test_visits import publish
from tests.kafka_broker import TestBroker
from worker.local.server import RunningServer, free_port, spawn
from worker.local.up import environment
from worker.settings import Settings

WAIT_S = 30.0


@pytest.fixture
def site(kafka: TestBroker, bundle: Path, tmp_path: Path) -> Iterator[Installation]:
    with installation(kafka.bootstrap_servers, bundle, tmp_path) as found:
        yield found


@contextmanager
def serve(
    settings: Settings, directory: Path, *options: str
) -> Iterator[tuple[str, RunningServer]]:
    """Run the command; give the address that it prints."""
    command = [sys.executable, "-m", "worker.cli", "serve", "--port=0", *options]
    log = directory / "serve.log"
    env = {**os.environ, **environment(settings), "PYTHONUNBUFFERED": "1"}
    with spawn("serve", "http", command, 0, log, env) as running:
        address = re.compile(r"^http://127\.0\.0\.1:\d+/$", re.MULTILINE)
        wait_until("an address is printed", lambda: bool(address.search(log.read_text())))
        found = address.search(log.read_text())
        assert found is not None
        yield found[0], running


async def next_event(stream: ClientResponse) -> tuple[str, Any]:
    fields: dict[str, str] = {}
    async with asyncio.timeout(WAIT_S):
        while True:
            line = (await stream.content.readline()).decode().rstrip("\n")
            if line.startswith(":"):
                continue
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "event" in fields:
                return fields["event"], msgspec.json.decode(fields["data"])
            else:
                fields = {}


async def test_from_a_visit_to_an_erasure_over_http(site: Installation, tmp_path: Path) -> None:
    site.start_worker()
    publish(site)
    site.wait_until_stored()
    reader = "{读者}"
    path = "/v1/readers/%7B%E8%AF%BB%E8%80%85%7D"
    with serve(site.settings, tmp_path, "--demo") as (address, running):
        async with (
            ClientSession(address) as client,
            client.get(f"{path}/events?articles=true") as stream,
        ):
            assert [await next_event(stream), await next_event(stream)] == [
                ("profile", None),
                ("recommendations", None),
            ]
            async with client.post(f"{path}/visits", json={}) as answer:
                assert answer.status == 202
            name, first = await next_event(stream)
            assert (name, first["user_id"]) == ("recommendations", reader)
            chosen = first["items"][0]["article_id"]
            click = {
                "user_id": reader,
                "article_id": chosen,
                "timestamp": int(time.time() * 1000),
            }
            async with client.post("/v1/clicks", json=click) as answer:
                assert answer.status == 202
            events = dict([await next_event(stream), await next_event(stream)])
            assert events["profile"]["num_known"] == 1
            assert chosen not in {each["article_id"] for each in events["recommendations"]["items"]}
            async with client.get("/v1/demo/readers") as answer:
                (listed,) = (await answer.json())["readers"]
            assert listed["user_id"] == reader
            async with client.delete(path) as answer:
                assert answer.status == 202
            events = dict([await next_event(stream), await next_event(stream)])
            assert events == {"profile": None, "recommendations": None}
            async with client.get(f"{path}/profile") as answer:
                assert answer.status == 404
            os.kill(running.pid, signal.SIGTERM)  # the stream ends, and nobody waits for it
            async with asyncio.timeout(5):
                await stream.content.read()
        wait_until("the server has ended", lambda: not running.is_alive(), 5)
        assert reader not in running.log_path.read_text()
        assert "Traceback" not in running.log_path.read_text()


async def test_wishes_are_heeded_and_told_over_http(site: Installation, tmp_path: Path) -> None:
    site.start_worker()
    publish(site)
    site.wait_until_stored()
    path = "/v1/readers/42"

    with serve(site.settings, tmp_path) as (address, _):
        async with ClientSession(address) as client:

            async def until(what: str, name: str, is_so: Callable[[Any], bool]) -> Any:
                deadline = time.monotonic() + WAIT_S
                while True:
                    async with client.get(f"{path}/{name}") as answer:
                        found = await answer.json(content_type=None)
                        if is_so(found if answer.status == 200 else None):
                            return found
                    assert time.monotonic() < deadline, f"not in time: {what}"
                    await asyncio.sleep(0.05)

            async def put(**wishes: Any) -> int:
                async with client.put(f"{path}/preferences", json=wishes) as answer:
                    assert answer.status == 202
                    asked_ms: int = (await answer.json())["timestamp"]
                    return asked_ms

            click = {"user_id": "42", "article_id": "a3", "timestamp": int(time.time() * 1000)}
            async with client.post("/v1/clicks", json=click) as answer:
                assert answer.status == 202
            await until("a profile", "profile", bool)
            page = await until("a page", "recommendations", bool)
            chosen = page["items"][0]["article_id"]

            asked_ms = await put(blocked_tags=["t1"], blocked_articles=[chosen], profiling=False)
            kept = await until("wishes are kept", "preferences", bool)
            assert kept == {
                "user_id": "42",
                "timestamp": asked_ms,
                "blocked_tags": ["t1"],
                "blocked_articles": [chosen],
                "profiling": False,
            }

            def is_heeded(found: Any) -> bool:
                ids = [item["article_id"] for item in found["items"]]
                tags = [tag for item in found["items"] for tag in item["tags"]]
                return bool(ids) and chosen not in ids and "t1" not in tags

            assert not is_heeded(page)
            await until("a page that heeds them", "recommendations", is_heeded)
            await until("no profile any more", "profile", lambda found: found is None)

            await put(blocked_tags=["t2"], timestamp=asked_ms - 1)  # comes late: changes nothing
            lifted_ms = await put()
            kept = await until("lifted", "preferences", lambda found: found != kept)
            assert (kept["timestamp"], kept["blocked_tags"]) == (lifted_ms, [])
            assert kept["profiling"] is True


def test_it_does_not_listen_to_others_without_a_token(tmp_path: Path) -> None:
    def run(*options: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        env = {**os.environ, **{f"FRONTPAGE_{name}": value for name, value in variables.items()}}
        command = [sys.executable, "-m", "worker.cli", "serve", *options]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)

    found = run("--host", "0.0.0.0")
    assert found.returncode == 1
    assert found.stderr == (
        "frontpage: FRONTPAGE_HTTP_HOST: other than loopback needs FRONTPAGE_HTTP_TOKEN\n"
    )
    found = run(
        "--host",
        "192.0.2.1",  # of nobody
        "--port",
        str(free_port()),
        HTTP_TOKEN="a-token-of-the-tests",
        BUNDLE=str(tmp_path),
    )
    assert found.returncode == 1
    assert "cannot listen on 192.0.2.1" in found.stderr.splitlines()[-1]
