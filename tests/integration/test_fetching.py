"""Fetching against a real broker: nothing is lost when topics fill up or partitions move."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tests.kafka_broker import TestBroker
from worker.chunks import Place, Record
from worker.fetching import Fetching
from worker.kafka_security import consumer_config
from worker.metrics import Metrics
from worker.settings import Settings

PARTITIONS = 4


class Group:
    """A consumer group, two topics, and what its members were given."""

    def __init__(self, kafka: TestBroker) -> None:
        self.bootstrap_servers = kafka.bootstrap_servers
        self.client_config = {"bootstrap.servers": kafka.bootstrap_servers, "log_level": 2}
        self.fetch_wait_s = 0.1 if "embedded" in kafka.kind else 0.5
        self.name = f"group-{uuid4().hex[:8]}"
        self.topics = [f"{self.name}-{letter}" for letter in "ab"]
        admin = AdminClient(self.client_config)
        created = admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in self.topics])
        for future in created.values():
            future.result(30)

    def produce(self, topic: str, num: int, first: int = 0, size: int = 0) -> None:
        producer = Producer({**self.client_config, "batch.num.messages": 200})
        for number in range(first, first + num):
            value = str(number).encode().zfill(size)
            producer.produce(topic, value, str(number), number % PARTITIONS)
        assert producer.flush(30) == 0

    @asynccontextmanager
    async def member(self, hung_s: float = 6.0, most: int = 50) -> AsyncIterator["Member"]:
        member = Member(self, hung_s, most)
        member.fetching.start(self.topics)
        try:
            yield member
        finally:
            await member.fetching.stop()


class Member:
    def __init__(self, group: Group, hung_s: float, most: int) -> None:
        settings = Settings(
            kafka_bootstrap=group.bootstrap_servers,
            app_id=group.name,
            session_timeout_s=6.0,
            fetch_wait_s=group.fetch_wait_s,
            batch_size=most,
        )
        self.metrics = Metrics()
        self.fetching = Fetching(
            consumer_config(settings),
            self._revoked,
            self._assigned,
            most_records=most,
            hung_s=hung_s,
            stage=self.metrics.stage,
        )
        self.assigned: set[Place] = set()
        self.given: list[Record] = []

    async def _revoked(self, _: set[Place]) -> None:
        self.given.clear()  # as an account begins anew: all that is not committed comes again
        self.assigned = set()

    async def _assigned(self, assigned: set[Place]) -> None:
        self.assigned = assigned

    async def take_until(self, done: Callable[[], bool], timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not done():
            assert time.monotonic() < deadline, "it took too long"
            for records in (await self.fetching.take(0.2)).values():
                self.given += records

    def values(self, topic: str) -> Counter[bytes | None]:
        return Counter(record.value for record in self.given if record.topic == topic)


@pytest.fixture
def group(kafka: TestBroker) -> Group:
    return Group(kafka)


def everything(num: int) -> Counter[bytes | None]:
    return Counter(str(number).encode() for number in range(num))


async def test_while_one_topic_is_full_the_other_goes_on(group: Group) -> None:
    full, free = group.topics
    group.produce(full, 400)
    async with group.member() as member:
        member.fetching.set_full(full, True)
        for first in range(0, 400, 100):
            group.produce(free, 100, first)
            await member.take_until(lambda until=first + 100: len(member.given) >= until)  # type: ignore[misc]
        assert member.values(free) == everything(400) and not member.values(full)
        member.fetching.set_full(full, False)
        await member.take_until(lambda: len(member.values(full)) == 400)
        assert member.values(full) == everything(400)
        for partition in range(PARTITIONS):
            offsets = [each.offset for each in member.given if each[:2] == (full, partition)]
            assert offsets == list(range(100))


async def test_a_topic_that_was_full_goes_on_after_a_rebalance(group: Group) -> None:
    topic = group.topics[0]
    group.produce(topic, 400)
    async with group.member() as one:
        one.fetching.set_full(topic, True)
        await one.take_until(lambda: one.fetching._paused == {topic})
        async with group.member() as other:
            await asyncio.gather(
                *(
                    member.take_until(
                        lambda each=member: (  # type: ignore[misc]
                            0 < len(each.assigned) < 2 * PARTITIONS
                            and len(one.values(topic) + other.values(topic)) == 400
                        )
                    )
                    for member in (one, other)
                )
            )
            assert one.given and other.given


async def test_a_backlog_is_fetched_from_all_partitions_side_by_side(group: Group) -> None:
    topic, each = group.topics[0], 5000
    group.produce(topic, PARTITIONS * each, size=120)
    async with group.member(most=8000) as member:
        await member.take_until(lambda: len(member.given) == PARTITIONS * each)
        given = list(member.given)
    at = dict.fromkeys(range(PARTITIONS), 0)
    furthest = 0
    for record in given:
        at[record.partition] = record.offset
        furthest = max(furthest, max(at.values()) - min(at.values()))
    # One after another it would be 4,999.
    assert furthest < each / 2


async def test_what_is_committed_is_where_the_next_begins(group: Group) -> None:
    topic = group.topics[0]
    group.produce(topic, 200)
    async with group.member() as member:
        await member.take_until(lambda: len(member.given) == 200)
        await member.fetching.commit({(topic, partition): 30 for partition in range(PARTITIONS)})
        assert all(member.fetching.highwater((topic, number)) == 50 for number in range(4))
    async with group.member() as member:
        await member.take_until(lambda: len(member.given) >= 80)
        await asyncio.sleep(0.5)
        await member.take_until(lambda: True)
        assert len(member.given) == 80 and min(each.offset for each in member.given) == 30


async def test_a_commit_does_not_wait_for_messages(group: Group) -> None:
    topic = group.topics[0]
    group.produce(topic, 400)
    async with group.member() as member:
        await member.take_until(lambda: len(member.given) == 400)
        async with asyncio.timeout(15):
            for end in range(1, 31):
                await member.fetching.commit({(topic, end % PARTITIONS): end})
                await asyncio.sleep(0.01)


async def test_fetches_and_commits_are_timed_and_waiting_is_not(group: Group) -> None:
    topic = group.topics[0]
    async with group.member() as member:

        def timed(stage: str, what: str = "count") -> float:
            name = f"frontpage_stage_seconds_{what}"
            return member.metrics.registry.get_sample_value(name, {"stage": stage}) or 0.0

        await member.take_until(lambda: bool(member.assigned))
        await asyncio.sleep(0.5)
        assert timed("fetch") == timed("commit") == 0
        group.produce(topic, 200)
        await member.take_until(lambda: len(member.given) == 200)
        # A fetch has been timed a moment after its messages are there.
        await member.take_until(lambda: timed("fetch") >= 200 / 50)
        assert timed("fetch") <= 200
        await member.fetching.commit({(topic, 0): 1})
        await member.fetching.commit({(topic, 0): 2})
        assert timed("commit") == 2
        assert timed("fetch", "sum") > 0 and timed("commit", "sum") > 0


async def test_partitions_that_move_lose_and_repeat_nothing_of_their_new_account(
    group: Group,
) -> None:
    topic = group.topics[0]
    group.produce(topic, 400)
    async with group.member() as one:
        await one.take_until(lambda: len(one.given) == 400)
        async with group.member() as other:

            async def settle(member: Member) -> None:
                await member.take_until(
                    lambda: (
                        0 < len(member.assigned) < 2 * PARTITIONS
                        and len(one.given) + len(other.given) == 400
                    )
                )

            await asyncio.gather(settle(one), settle(other))
            assert not one.assigned & other.assigned
            assert one.values(topic) + other.values(topic) == everything(400)


async def test_a_rebalance_in_the_middle_of_a_fetch_loses_nothing(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = group.topics[0]
    async with group.member() as member:
        await member.take_until(lambda: bool(member.assigned))
        inner = member.fetching._consumer
        fetched = []

        class Interrupted:
            """Says, of one fetch, that partitions were taken away and given while it went on."""

            def consume(self, most: int, timeout_s: float) -> list[object]:
                found = inner.consume(most, timeout_s)
                if found and not fetched:
                    fetched.extend(found)
                    member.fetching._rebalances += 1
                return list(found)

            def __getattr__(self, name: str) -> object:
                return getattr(inner, name)

        monkeypatch.setattr(member.fetching, "_consumer", Interrupted())
        group.produce(topic, 400)
        await member.take_until(lambda: len(member.values(topic)) == 400)
        assert fetched
        assert member.values(topic) == everything(400)


async def test_a_loop_that_does_not_turn_loses_its_partitions(group: Group) -> None:
    topic = group.topics[0]
    async with group.member(hung_s=1.0) as member:
        await member.take_until(lambda: bool(member.assigned))
        async with group.member() as other:
            member.fetching._be_alive = lambda: None  # type: ignore[method-assign]
            group.produce(topic, 100)
            await other.take_until(lambda: len(other.values(topic)) == 100)
            assert len(other.assigned) == 2 * PARTITIONS
