"""What was sent of a reader who is erased meanwhile is taken back, whoever comes first."""

from typing import Any, cast

from schemas.topics import Topics
from worker.emitter import Emitter
from worker.erasure_store import ErasureStore, Left
from worker.erasures import Erasures
from worker.reader_store import ReaderUpdate


class Log:
    """Stands for Kafka: the values of a reader on each topic, in order."""

    num_failures = 0

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, bytes | None]] = []
        self.labels: list[int] = []
        self.undelivered = 0

    def send(self, topic: str, key: str, value: bytes) -> None:
        self.sent.append((topic, key, value))

    def send_tombstone(self, topic: str, key: str, time_ms: int = 0, partition: int = -1) -> None:
        assert (time_ms, partition >= 0) in ((0, False), (0, True), (300, True))
        self.sent.append((topic, key, None))
        self.undelivered += 1

    async def delivered(self, num_failures: int) -> None:
        assert num_failures == 0
        self.undelivered = 0

    def partitions(self) -> dict[str, list[int]]:
        return {"preferences": [0, 1], "reader-labels": self.labels}

    def last(self, key: str) -> dict[str, bytes | None]:
        return {topic: value for topic, user_id, value in self.sent if user_id == key}


class Stored:
    """Stands for Redis."""

    def __init__(self) -> None:
        self.profiles: set[str] = set()
        self.withdrawn = 0
        self.asked: list[list[str]] = []

    async def erase(self, times_ms: dict[str, int], now_ms: int) -> Left:
        assert now_ms == 1000
        self.withdrawn += 1
        self.profiles -= {*times_ms}
        return Left(set(), set())

    async def drop_profiles(self, user_ids: list[str]) -> None:
        self.withdrawn += 1
        self.profiles -= {*user_ids}

    async def num_withdrawals(self) -> int:
        return self.withdrawn

    async def without(self, user_ids: list[str]) -> tuple[list[str], list[str]]:
        self.asked.append(user_ids)
        missing = [each for each in user_ids if each not in self.profiles]
        return missing, missing


def updates(*user_ids: str) -> list[ReaderUpdate]:
    return [ReaderUpdate(user_id, None, b"", b"", b"", ()) for user_id in user_ids]


def worker(stored: Stored, log: Log) -> Erasures:
    return Erasures(
        cast("ErasureStore", cast("Any", stored)),
        lambda: cast("Emitter", cast("Any", log)),
        Topics(),
        clock_ms=lambda: 1000,
    )


def store_and_send(stored: Stored, log: Log, *user_ids: str) -> None:
    for user_id in user_ids:
        stored.profiles.add(user_id)
        log.send("profiles", user_id, b"{}")
        log.send("recommendations", user_id, b"{}")


async def test_what_is_sent_after_the_tombstone_is_taken_back() -> None:
    stored, log = Stored(), Log()
    one, other = worker(stored, log), worker(stored, log)
    since = one.num_withdrawals
    stored.profiles |= {"u", "v"}
    await other.take({"u": 300})  # stored before, sent after it
    log.send("profiles", "u", b"{}")
    log.send("profiles", "v", b"{}")
    await one.look_again(updates("u", "v"), (), since)
    assert log.last("u") == dict.fromkeys(("profiles", "recommendations", "preferences"))
    assert log.last("v") == {"profiles": b"{}"}
    assert log.undelivered == 0


async def test_an_attempt_that_was_broken_off_is_taken_back_by_the_next() -> None:
    """Its clicks are left out now, so nothing is sent that would show it."""
    stored, log = Stored(), Log()
    store_and_send(stored, log, "u")
    await worker(stored, log).take({"u": 300})
    log.send("profiles", "u", b"{}")
    restarted = worker(stored, log)
    restarted.num_withdrawals = 1
    await restarted.look_again(updates("u", "v"), {"u"}, 1)
    assert log.last("u")["profiles"] is None
    assert stored.asked == [["u"]]


async def test_where_nothing_was_taken_back_nobody_is_looked_at() -> None:
    stored, log = Stored(), Log()
    stored.withdrawn = 7
    one = worker(stored, log)
    await one.look_again(updates("u"), (), one.num_withdrawals)  # learns how often it was
    await one.look_again(updates("u"), (), one.num_withdrawals)
    assert len(stored.asked) == 1


async def test_labels_are_taken_back_where_they_have_a_topic() -> None:
    stored, log = Stored(), Log()
    one = worker(stored, log)
    await one.take({"u": 300})
    assert "reader-labels" not in log.last("u")
    log.labels = [0, 1, 2]
    await one.take({"u": 300})
    assert log.sent.count(("reader-labels", "u", None)) == 3


async def test_the_profile_of_who_objects_is_taken_back() -> None:
    stored, log = Stored(), Log()
    one, other = worker(stored, log), worker(stored, log)
    store_and_send(stored, log, "u")
    await one.drop_profiles({"u"})
    assert log.last("u") == {"profiles": None, "recommendations": b"{}"}
    log.send("profiles", "u", b"{}")
    await other.look_again(updates("u"), (), 0)
    assert log.last("u")["profiles"] is None
    await one.drop_profiles(())
    assert stored.withdrawn == 1
