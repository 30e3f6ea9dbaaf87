"""How many messages wait, from what consumer and brokers say."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.structs import TopicPartition
from confluent_kafka import KafkaError, KafkaException

from worker.lag import Lag

CLICKS = TopicPartition("clicks", 0)


class KnownConsumer:
    """What `Lag` reads of a consumer of one partition."""

    def __init__(self, position: int | None, highwater: int | None, committed: int | None) -> None:
        state = SimpleNamespace(_position=position, highwater=highwater)
        assignment = SimpleNamespace(tps=[CLICKS], state_value=lambda _: state)
        subscription = SimpleNamespace(subscription=SimpleNamespace(assignment=assignment))
        self._thread = SimpleNamespace(_consumer=SimpleNamespace(_subscription=subscription))
        self._committed_offset = {CLICKS: committed}
        self.unstored = False

    def has_unstored(self, topic: str) -> bool:
        assert topic == "clicks"
        return self.unstored


def lag_of(consumer: KnownConsumer) -> Lag:
    found = Lag({})
    found.follow(cast("Any", consumer))
    return found


def test_without_partitions_nothing_waits() -> None:
    assert Lag({}).by_partition() == {}


def test_what_is_fetched_and_not_stored_waits() -> None:
    consumer = KnownConsumer(position=90, highwater=100, committed=70)
    lag = lag_of(consumer)
    assert lag.by_partition() == {CLICKS: 10}  # stored up to 90, and committed in a moment
    consumer.unstored = True
    assert lag.by_partition() == {CLICKS: 30}


def test_what_the_brokers_have_deleted_does_not_wait() -> None:
    assert lag_of(KnownConsumer(position=100, highwater=100, committed=50)).by_partition() == {
        CLICKS: 0
    }
    assert lag_of(KnownConsumer(position=100, highwater=100, committed=None)).by_partition() == {
        CLICKS: 0
    }


async def test_a_consumer_that_fetches_no_more_does_not_hide_what_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lag = lag_of(KnownConsumer(position=100, highwater=100, committed=100))
    monkeypatch.setattr(lag, "_ask", lambda _: {CLICKS: 130})
    await lag.ask()
    assert lag.by_partition() == {CLICKS: 30}
    assert lag.brokers_answer


async def test_brokers_that_do_not_answer_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    lag = lag_of(KnownConsumer(position=100, highwater=120, committed=100))

    def fail(_: object) -> None:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    monkeypatch.setattr(lag, "_ask", fail)
    await lag.ask()
    assert not lag.brokers_answer
    assert lag.by_partition() == {CLICKS: 20}
