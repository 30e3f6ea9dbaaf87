"""`frontpage top` on real endpoints and a real Redis."""

import asyncio
import json

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from schemas import keys
from schemas.encoded import EncodedArticle
from schemas.history import HEADER_BYTES, article_ref, merge, pack_entry
from tests.integration.test_operations_endpoint import TOKEN, Endpoint
from worker import click_log
from worker.catalogue import Catalogue
from worker.click_log import ClickLog
from worker.local.server import free_port
from worker.local.up import environment
from worker.reader_store import ReaderStore, ReaderUpdate
from worker.recommend.click_log import pack_clicks
from worker.recommend.statistics import Statistics
from worker.redis_client import Client
from worker.settings import Settings
from worker.top import command
from worker.top.command import top
from worker.top.trends import TagTrend, TagTrends, hot_articles

HOUR_MS = 3_600_000
TTL_MS = 60_000


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "ONCE_S", 0.2)


async def run(settings: Settings, *arguments: str) -> str:
    """Run the command, in a thread: the endpoints are served here."""
    runner = CliRunner(env=environment(settings))
    done = await asyncio.to_thread(runner.invoke, top, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("server", ["single"], indirect=True)
async def test_a_frame_of_workers_that_answer_and_of_one_that_does_not(
    server: Settings,
) -> None:
    settings = msgspec.structs.replace(server, metrics_port=0, http_token=TOKEN)
    endpoint = Endpoint(settings)
    endpoint.lag.waiting = {("clicks", 1): 70}
    endpoint.health.has_catalogue = endpoint.health.has_partitions = True
    await endpoint.operations.start()
    gone = f"127.0.0.1:{free_port()}"
    workers = ("--worker", endpoint.url, "--worker", gone)
    try:
        text = await run(settings, *workers, "--once")
        dumped = await run(settings, *workers, "--json")
        refused = await run(server, "--worker", endpoint.url, "--once")
    finally:
        await endpoint.operations.stop()
    assert "1 of 2 workers" in text and "\x1b" not in text
    assert f"! worker {gone}: does not answer" in text
    assert "clicks: 70 wait and none is done" in text
    assert "[1] 70" in text and "articles 7" in text
    found = json.loads(dumped)
    assert [each["status"] for each in found["workers"]] == ["ready", "does not answer"]
    assert found["total"]["clicks_per_s"] == 0
    assert found["total"]["topics"]["clicks"]["waiting"] == {"1": 70}
    assert found["redis"]["problem"] == "" and found["redis"]["memory_bytes"] > 0
    assert "0 of 1 workers" in refused and "wants FRONTPAGE_HTTP_TOKEN" in refused


async def test_without_redis_the_workers_are_shown() -> None:
    endpoint = Endpoint(Settings(metrics_port=0))
    await endpoint.operations.start()
    settings = Settings(redis_url=f"redis://127.0.0.1:{free_port()}/0")
    try:
        text = await run(settings, "--worker", endpoint.url, "--once")
    finally:
        await endpoint.operations.stop()
    assert "1 of 1 workers" in text
    assert "! Redis: does not answer (ConnectionError)" in text
    assert "not ready: catalogue, partitions" in text


async def test_hot_tags_come_from_the_checkpoint(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(click_log, "CHECKPOINT_ENTRIES", 1)
    catalogue, statistics = Catalogue(0, np.dtype("<f4")), Statistics(16)
    trends = TagTrends(client)
    assert await trends.look("m") is None
    for name, tags in (("a", ["food"]), ("b", ["art", "food"]), ("c", [])):
        encoded = EncodedArticle(name, "m", b"", tags, None)
        catalogue.put(encoded)
        await client.set(keys.encoded(article_ref(name), "m"), msgspec.msgpack.encode(encoded))
    log = ClickLog(client, statistics, catalogue, TTL_MS)
    await log.follow()
    now_ms = 1_790_000_000_000
    # Two hours ago food was read; now it is art.
    told = [("a", now_ms - 2 * HOUR_MS)] * 4 + [("b", now_ms)] * 2 + [("c", now_ms)] * 2
    updates = []
    for number, (name, time_ms) in enumerate(told):
        history = merge(None, [pack_entry(time_ms, str(number), article_ref(name))], 64)
        one = pack_clicks(history[HEADER_BYTES:], [0], np.ones(2, np.float32), None, 0, 0)
        updates.append(ReaderUpdate(f"u{number}", None, history, b"{}", b"{}", (), one))
    await ReaderStore(client, TTL_MS, "m").write(updates)
    await log.append([] if await client.exists(keys.CLICK_LOG) else [each.told for each in updates])
    await log.follow()
    assert await trends.look("m") is None
    assert await log.checkpoint()

    assert await trends.look(None) is None
    found = await trends.look("m")
    assert found is not None and found.newest_ms == now_ms
    # 4 clicks faded to a quarter are 1, beside 2 and 2 of now.
    shares = {each.tag: round(each.share, 3) for each in found.tags}
    assert list(shares.items()) == [("food", 0.6), ("art", 0.4)]
    assert found.tags[1] == TagTrend("art", found.tags[1].share, 2 / 8)
    assert await trends.look("m") is found  # nothing new: nothing fetched
    other = await trends.look("another model")
    assert other is not None and other.tags == []
    await client.set(keys.CHECKPOINT, b"9-9 of another version")
    assert await trends.look("m") is other
    assert hot_articles(b"") is None
