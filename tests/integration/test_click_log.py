"""The click log on real Redis: each click once, every worker alike, bounded."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas import keys
from schemas.history import HEADER_BYTES, article_ref, merge, pack_entry
from tests.integration.redis_servers import redis_cluster
from worker import click_log
from worker.catalogue import Catalogue
from worker.click_log import ClickLog
from worker.counting import counted_positions
from worker.local.redis_server import start_redis
from worker.reader_store import PageUpdate, ReaderStore, ReaderUpdate
from worker.recommend.click_log import pack_clicks
from worker.recommend.item_model import ToFit, fit_item_model
from worker.recommend.statistics import Statistics
from worker.redis_client import Client, connect
from worker.settings import Settings

TTL_MS = 60_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with start_redis(tmp_path_factory.mktemp("redis")) as found:
        yield Settings(redis_url=found.url)


def worker(client: Client, slots: int = 16) -> tuple[ClickLog, Statistics]:
    statistics = Statistics(slots)
    return ClickLog(client, statistics, Catalogue(0, np.dtype("<f4")), TTL_MS), statistics


def update(user_id: str, held: bytes | None, *names: str) -> ReaderUpdate:
    fresh = [
        pack_entry(time, f"{user_id}{name}", article_ref(name)) for time, name in enumerate(names)
    ]
    history = merge(held, fresh, 64)
    counted = counted_positions(held, history, fresh)
    member = np.ones(2, dtype=np.float32)
    told = pack_clicks(history[HEADER_BYTES:], counted, member, None, 0, 0) if counted else b""
    return ReaderUpdate(user_id, held, history, b"{}", b"{}", [], told)


def counts(statistics: Statistics, *names: str) -> list[float]:
    refs = np.array([int.from_bytes(article_ref(name), "big") for name in names], dtype=np.int64)
    return [float(count) for count in statistics.items.counts[statistics.number(refs), -1]]


async def test_a_batch_that_is_done_again_counts_once(client: Client) -> None:
    readers = ReaderStore(client, TTL_MS, "v1")
    log, statistics = worker(client)
    first = update("u1", None, "a", "b")
    await readers.write([first, update("u2", None, "a")])
    # The worker died before its commit: the same clicks come again, to the histories as they are.
    (held,) = (await readers.read(["u1"], [])).histories
    await readers.write([update("u1", held, "a", "b")])
    await log.follow()
    assert counts(statistics, "a", "b") == [2, 1]


async def test_who_lost_the_race_is_not_counted(client: Client) -> None:
    readers = ReaderStore(client, TTL_MS, "v1")
    log, statistics = worker(client)
    await readers.write([update("u1", None, "a")])
    result = await readers.write([update("u1", None, "b"), update("u2", None, "b")])
    assert result.lost == {"u1"}
    await log.follow()
    assert counts(statistics, "a", "b") == [1, 1]


async def test_a_new_worker_agrees_from_the_checkpoint_on(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(click_log, "CHECKPOINT_ENTRIES", 3)
    readers = ReaderStore(client, TTL_MS, "v1")
    old, statistics = worker(client)
    await old.follow()
    for number in range(8):
        await readers.write([update(f"u{number}", None, "a", f"b{number % 3}")])
        if number in (3, 6):
            await old.follow()
            await client.delete(keys.CHECKPOINT_LOCK)
            assert await old.checkpoint()
    await old.follow()
    assert not await old.checkpoint()  # one entry, a moment after the last
    # What lies behind the first checkpoint is not needed any more, and gone.
    await client.xtrim(keys.CLICK_LOG, minid=old._checkpointed, approximate=False)
    assert await client.xlen(keys.CLICK_LOG) == 2
    new, restored = worker(client)
    await new.follow()
    assert counts(restored, "a", "b0", "b1", "b2") == counts(statistics, "a", "b0", "b1", "b2")
    assert counts(restored, "a") == [8]
    for key in (keys.CLICK_LOG, keys.CHECKPOINT):
        assert 0 < await client.pttl(key) <= TTL_MS


async def test_one_worker_writes_the_checkpoint(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(click_log, "CHECKPOINT_ENTRIES", 1)
    await ReaderStore(client, TTL_MS, "v1").write([update("u1", None, "a")])
    logs = [worker(client)[0] for _ in range(3)]
    for log in logs:
        await log.follow()
    assert [await log.checkpoint() for log in logs] == [True, False, False]


async def test_an_unreadable_checkpoint_or_entry_stops_nobody(client: Client) -> None:
    await client.set(keys.CHECKPOINT, b"0-0 rubbish")
    await client.xadd(keys.CLICK_LOG, {"clicks": b"\0\0"})
    await ReaderStore(client, TTL_MS, "v1").write([update("u1", None, "a")])
    log, statistics = worker(client)
    await log.follow()
    assert counts(statistics, "a") == [1]


async def test_a_page_of_a_reader_who_clicked_meanwhile_is_not_stored(client: Client) -> None:
    readers = ReaderStore(client, TTL_MS, "v1")
    written = update("u1", None, "a")
    await readers.write([written])
    pages = [
        PageUpdate("u1", None, b"stale"),
        PageUpdate("u2", None, b"first"),
        PageUpdate("u1", written.history, b"new"),
    ]
    assert await readers.write_pages(pages) == [0]
    assert await client.get(keys.recs("u1")) == b"new"
    assert await client.get(keys.recs("u2")) == b"first"


async def test_on_a_cluster_clicks_are_counted_after_they_are_stored(tmp_path: Path) -> None:
    with redis_cluster(tmp_path) as url:
        client = connect(Settings(redis_url=url, redis_cluster=True))
        readers = ReaderStore(client, TTL_MS, "v1")
        log, statistics = worker(client)
        updates = [update(f"u{number}", None, "a") for number in range(5)]
        await readers.write(updates)
        await log.append(each.told for each in updates)
        await log.follow()
        assert counts(statistics, "a") == [5]
        assert await readers.write_pages([PageUpdate("u9", None, b"page")]) == []
        await client.aclose()


async def test_an_emptied_redis_begins_anew_and_nothing_counts_twice(client: Client) -> None:
    readers = ReaderStore(client, TTL_MS, "v1")
    log, statistics = worker(client)
    await readers.write([update("u1", None, "a")])
    await log.follow()
    await client.flushall()
    # The clicks are replayed, as they must be, and are new to the histories.
    await readers.write([update("u1", None, "a"), update("u2", None, "a")])
    await log.follow()
    assert counts(statistics, "a") == [2]


async def test_a_redis_that_lost_its_latest_writes_is_noticed(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """As after a failover to a replica that was behind; what is written next hides nothing."""
    readers = ReaderStore(client, TTL_MS, "v1")
    (log, statistics), (other, same) = worker(client), worker(client)
    for name in ("a", "b", "c"):
        await readers.write([update(f"u-{name}", None, name)])
        await log.follow()
        await other.follow()
    assert counts(statistics, "a", "b", "c") == [1, 1, 1] and not caplog.records
    entries: Any = await client.xrange(keys.CLICK_LOG)
    await client.xdel(keys.CLICK_LOG, entries[-1][0])
    await readers.write([update("u-d", None, "d")])
    await log.follow()
    await log.follow()
    assert counts(statistics, "a", "b", "c", "d") == [1, 1, 0, 1]
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "Redis lost its latest writes"
    ]
    # Also where nothing has come since; both hold the same again.
    await client.xdel(keys.CLICK_LOG, (await client.xrange(keys.CLICK_LOG))[-1][0])
    await log.follow()
    await other.follow()
    assert len(caplog.records) == 3
    assert counts(statistics, "a", "d") == counts(same, "a", "d") == [1, 0]


async def test_a_log_that_was_cut_is_not_taken_for_a_loss(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    readers = ReaderStore(client, TTL_MS, "v1")
    log, statistics = worker(client)
    for name in ("a", "b"):
        await readers.write([update(f"u-{name}", None, name)])
        await log.follow()
    await client.xtrim(keys.CLICK_LOG, maxlen=0, approximate=False)
    await readers.write([update("u-c", None, "c")])
    await log.follow()
    await client.delete(keys.CLICK_LOG)  # as when it has expired
    await log.follow()
    assert counts(statistics, "a", "b", "c") == [1, 1, 1] and not caplog.records


async def test_entries_are_counted_once_whatever_their_number(client: Client) -> None:
    readers = ReaderStore(client, TTL_MS, "v1")
    log, statistics = worker(client)
    for number in range(2 * click_log.ENTRIES_PER_READ + 1):
        await readers.write([update(f"u{number}", None, "a")])
        if number in (0, click_log.ENTRIES_PER_READ):
            await log.follow()
    await log.follow()
    await log.follow()
    assert counts(statistics, "a") == [2 * click_log.ENTRIES_PER_READ + 1]


async def test_who_falls_behind_what_was_cut_loads_the_checkpoint(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(click_log, "CHECKPOINT_ENTRIES", 1)
    readers = ReaderStore(client, TTL_MS, "v1")
    slow, statistics = worker(client)
    fast, _ = worker(client)
    await slow.follow()
    for number in range(6):
        await readers.write([update(f"u{number}", None, "a")])
        await fast.follow()
        await client.delete(keys.CHECKPOINT_LOCK)
        assert await fast.checkpoint()
    await client.xtrim(keys.CLICK_LOG, maxlen=1, approximate=False)
    await slow.follow()
    assert counts(statistics, "a") == [6]


class NeverContent(Statistics):
    """Says that a fit is due whenever it is asked."""

    num_fits = 0

    @property
    def fit_is_due(self) -> bool:
        return True

    def install(self, model: np.ndarray[Any, np.dtype[np.float32]], counts: ToFit) -> None:
        self.num_fits += 1
        super().install(model, counts)


async def test_nobody_waits_for_a_fit_and_it_takes_little_of_the_time(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitting, may_end = threading.Event(), threading.Event()

    def slow(counts: ToFit) -> np.ndarray[Any, np.dtype[np.float32]]:
        fitting.set()
        assert may_end.wait(30)
        return fit_item_model(counts)

    monkeypatch.setattr("worker.click_log.fit_item_model", slow)
    statistics = NeverContent(16)
    log = ClickLog(client, statistics, Catalogue(0, np.dtype("<f4")), TTL_MS)
    readers = ReaderStore(client, TTL_MS, "v1")
    await log.follow()
    assert await asyncio.to_thread(fitting.wait, 30)
    await readers.write([update("u1", None, "a", "b")])
    await log.follow()
    assert counts(statistics, "a", "b") == [1, 1]
    assert statistics.num_fits == 0
    await asyncio.sleep(0.2)
    may_end.set()
    for _ in range(100):
        await log.follow()
        await asyncio.sleep(0.01)
        if statistics.num_fits:
            break
    fitting.clear()
    await log.follow()  # due again, but the last one took 0.2 s
    assert not await asyncio.to_thread(fitting.wait, 0.1)
    assert statistics.num_fits == 1


async def test_who_compares_waits_for_every_fit(client: Client) -> None:
    statistics = NeverContent(16)
    log = ClickLog(client, statistics, Catalogue(0, np.dtype("<f4")), TTL_MS, waits_for_fits=True)
    await log.follow()
    num_fits = statistics.num_fits
    await log.follow()
    assert statistics.num_fits == num_fits + 1
