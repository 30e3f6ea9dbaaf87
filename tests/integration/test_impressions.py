"""Impressions on real Redis: each counted once, by every worker, whoever processed it."""

from collections.abc import Sequence

import numpy as np
import pytest

from schemas import keys
from schemas.history import before, merge, num_clicks, pack_entry, read_entries
from schemas.showings import IMPRESSION_BYTES, MAX_SHOWINGS, pack_showings
from worker import click_log
from worker.batch_lessons import LESSONS
from worker.bygone import Sieve
from worker.catalogue import Catalogue
from worker.click_log import ClickLog
from worker.impressions import Impressions
from worker.intake import PackedImpression
from worker.reader_store import ReaderStore, ReaderUpdate
from worker.recommend.click_log import pack_impression
from worker.recommend.features import NUM_FEATURES
from worker.recommend.statistics import Statistics
from worker.redis_client import Client
from worker.renewals import READERS_PER_PART

TTL_MS = 60_000
Batch = dict[str, dict[bytes, PackedImpression]]


class Teacher:
    """Stands for the lessons: knows every article, and learns the same from each impression."""

    def __init__(self) -> None:
        self.num_clicks_before: list[int] = []
        self.asked: list[tuple[int, int]] = []
        """Impressions that came at once, and how many of them may teach."""

    def impressions(
        self,
        histories: Sequence[bytes],
        impressions: Sequence[PackedImpression],
        now_ms: int,
        objecting: object,
        most: int,
    ) -> list[bytes]:
        assert (now_ms, objecting) == (100, None)
        self.asked.append((len(impressions), most))
        self.num_clicks_before += map(num_clicks, histories)
        return [
            pack_impression(
                read_entries(b"".join(each.showings))[1],
                np.array(each.clicked),
                np.full(NUM_FEATURES, 0.5) if any(each.clicked) else None,
            )
            for each in impressions
        ]


class Worker:
    """What counts impressions in a worker."""

    def __init__(self, client: Client) -> None:
        self.statistics = Statistics(16)
        self.log = ClickLog(client, self.statistics, Catalogue(0, np.dtype("<f4")), TTL_MS)
        self.readers = ReaderStore(client, TTL_MS, "v1")
        self.teacher = Teacher()
        self.impressions = Impressions(self.teacher, self.readers, self.log)

    async def take(self, batch: Batch) -> None:
        await self.impressions.take(batch, 100, Sieve({}))

    async def shown(self, *names: str) -> list[list[float]]:
        await self.log.follow()
        showings = pack_showings(0, None, names)
        numbers = self.statistics.number(read_entries(b"".join(showings))[1])
        return self.statistics.items.shown[numbers].tolist()


def impression(
    time_ms: int, names: Sequence[str], clicked: str = ""
) -> dict[bytes, PackedImpression]:
    showings = pack_showings(time_ms, None, names)
    packed = PackedImpression(time_ms, showings, [name in clicked for name in names])
    return {showings[0][:IMPRESSION_BYTES]: packed}


async def test_two_workers_count_the_same_and_each_impression_once(client: Client) -> None:
    one, other = Worker(client), Worker(client)
    batch = {"u1": {**impression(5, "ab", "b"), **impression(6, "ac")}, "u2": impression(5, "ab")}
    await one.take(batch)
    # One died before its commit: the same comes again, to the other; and a part of it later.
    await other.take(batch)
    await one.take({"u1": impression(5, "ab", "b")})
    await other.take({"u3": impression(9, "c", "c")})
    expected = [[3, 0], [2, 1], [2, 1]]
    assert await one.shown("a", "b", "c") == await other.shown("a", "b", "c") == expected
    # It taught them: once, and both the same.
    weights = one.statistics.blend.weights
    assert np.array_equal(weights, other.statistics.blend.weights)
    assert not np.array_equal(weights, Statistics(16).blend.weights)
    once = Statistics(16)
    for _ in range(2):
        once.learn_shown(np.full(NUM_FEATURES, 0.5, dtype=np.float32))
    assert np.array_equal(weights, once.blend.weights)
    assert await client.exists(keys.history("u1")) == 0  # impressions are not clicks
    assert 0 < await client.pttl(keys.showings("u1")) <= TTL_MS


async def test_many_impressions_are_counted_part_by_part_and_the_first_teach(
    client: Client,
) -> None:
    worker = Worker(client)
    num = 4 * READERS_PER_PART + 1
    await worker.take({f"u{at}": impression(5, "ab", "b") for at in range(num)})
    assert worker.teacher.asked == [
        (READERS_PER_PART, LESSONS),
        *[(READERS_PER_PART, 0)] * 3,
        (1, 0),
    ]
    assert await worker.shown("a", "b") == [[num, 0], [num, num]]


async def test_a_restarted_worker_agrees_from_the_checkpoint_on(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(click_log, "CHECKPOINT_ENTRIES", 1)
    old = Worker(client)
    for at in range(6):
        await old.take({"u1": impression(at, "ab", "a"), "u2": impression(at, "b")})
        if at == 3:
            await old.log.follow()
            assert await old.log.checkpoint()
    new = Worker(client)
    assert await new.shown("a", "b") == await old.shown("a", "b") == [[6, 6], [12, 0]]
    assert np.array_equal(new.statistics.blend.weights, old.statistics.blend.weights)
    await new.take({"u1": {**impression(2, "ab", "a"), **impression(7, "a")}})
    assert await old.shown("a") == [[7, 6]]


async def test_who_lost_the_race_counts_what_is_left(client: Client) -> None:
    """Another worker stores showings of the same reader between the read and the write."""
    slow, fast = Worker(client), Worker(client)
    batch = {"u1": {**impression(5, "a"), **impression(6, "b")}, "u2": impression(5, "a")}
    read = slow.readers.read
    interruptions = [{"u1": impression(5, "a")}]

    async def interrupted(*arguments: list) -> object:
        held = await read(*arguments)
        while interruptions:
            await fast.take(interruptions.pop())
        return held

    slow.readers.read = interrupted
    await slow.take(batch)
    assert await fast.shown("a", "b") == [[2, 0], [1, 0]]


async def test_clicks_after_an_impression_are_not_what_it_is_seen_with(client: Client) -> None:
    worker = Worker(client)
    clicks = [pack_entry(time, "e", b"\0" * 6) for time in (1, 4, 5, 9)]
    history = merge(None, clicks, 64)
    await worker.readers.write([ReaderUpdate("u1", None, history, b"{}", b"{}", [])])
    await worker.take({"u1": impression(5, "ab"), "u2": impression(5, "a")})
    assert worker.teacher.num_clicks_before == [2, 0]
    assert num_clicks(before(history, 10)) == 4 and num_clicks(before(history, 1)) == 0


async def test_what_is_kept_of_a_reader_is_bounded(client: Client) -> None:
    worker = Worker(client)
    names = [f"a{i}" for i in range(40)]
    for time_ms in range(1, 10):
        showings = pack_showings(time_ms, None, names)
        packed = PackedImpression(time_ms, showings, [False] * 40)
        await worker.take({"u1": {showings[0][:IMPRESSION_BYTES]: packed}})
    (held,) = (await worker.readers.read(["u1"], [])).showings
    assert num_clicks(held) == MAX_SHOWINGS
    # As many at once count as well, though most are cut off at once.
    backlog = [impression(20 + at, [f"b{i}" for i in range(40)]) for at in range(9)]
    await worker.take({"u1": {start: each for one in backlog for start, each in one.items()}})
    assert await worker.shown("b0") == [[9, 0]]
    # What has been cut off cannot come back and count again.
    await worker.take({"u1": impression(1, "ab")})
    await worker.take({"u1": backlog[0]})
    assert await worker.shown("a0", "b0", "a", "b") == [[9, 0], [9, 0], [0, 0], [0, 0]]


async def test_showings_of_an_unknown_format_begin_anew(client: Client) -> None:
    worker = Worker(client)
    await client.set(keys.showings("u1"), b"\x09 of another version")
    await worker.take({"u1": impression(5, "a")})
    assert await worker.shown("a") == [[1, 0]]
