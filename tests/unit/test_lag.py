"""How many messages wait, from what consumer and brokers say."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from worker.chunks import Place
from worker.lag import Lag, Offsets

CLICKS, VISITS = ("clicks", 0), ("visits", 1)


class KnownConsumer:
    """A consumer that has some partitions, and has heard of their ends."""

    def __init__(self, highwater: int, *places: Place) -> None:
        self.places = list(places)
        self._highwater = highwater

    def assignment(self) -> list[Place]:
        return self.places

    def highwater(self, _: Place) -> int:
        return self._highwater


class KnownLag(Lag):
    """Brokers that answer what a test says."""

    def __init__(self) -> None:
        super().__init__({}, "group")
        self.answer: dict[Place, Offsets] | KafkaError = {}

    def _ask(self, places: list[Place]) -> dict[Place, Offsets]:
        if isinstance(self.answer, KafkaError):
            raise KafkaException(self.answer)
        return {place: self.answer[place] for place in places}


async def test_without_partitions_nobody_is_asked() -> None:
    lag = KnownLag()
    await lag.ask()
    assert lag.by_partition() == {}


@pytest.mark.parametrize(
    ("offsets", "highwater", "waiting"),
    [
        (Offsets(0, 100, 70), 90, 30),  # the consumer has not fetched all of it
        (Offsets(0, 90, 70), 100, 30),  # or knows better
        (Offsets(0, 100, 100), -1, 0),
        (Offsets(0, 100, -1001), 100, 100),  # nothing is committed yet
        (Offsets(80, 100, 50), 100, 20),  # what the brokers have deleted does not wait
        (Offsets(100, 100, -1001), -1, 0),
        (Offsets(0, 10, 100), 10, 0),  # the topic was made anew
    ],
)
async def test_what_is_there_and_not_committed_waits(
    offsets: Offsets, highwater: int, waiting: int
) -> None:
    lag = KnownLag()
    lag.answer = {CLICKS: offsets}
    lag.follow(KnownConsumer(highwater, CLICKS))
    await lag.ask()
    assert lag.by_partition() == {CLICKS: waiting}


async def test_partitions_that_others_have_by_now_are_not_this_workers() -> None:
    lag, consumer = KnownLag(), KnownConsumer(-1, CLICKS, VISITS)
    lag.answer = {CLICKS: Offsets(0, 9, 4), VISITS: Offsets(0, 9, 8)}
    lag.follow(consumer)
    await lag.ask()
    assert lag.by_partition() == {CLICKS: 5, VISITS: 1}
    consumer.places = [VISITS]
    assert lag.by_partition() == {VISITS: 1}


async def test_brokers_that_do_not_answer_are_noticed_until_they_do() -> None:
    lag = KnownLag()
    lag.answer = {CLICKS: Offsets(0, 9, 4)}
    lag.follow(KnownConsumer(-1, CLICKS))
    await lag.ask()
    lag.answer = KafkaError(KafkaError._TIMED_OUT)
    await lag.ask()
    assert not lag.brokers_answer
    assert lag.by_partition() == {CLICKS: 5}
    lag.answer = {CLICKS: Offsets(0, 9, 9)}
    await lag.ask()
    assert lag.brokers_answer
    assert lag.by_partition() == {CLICKS: 0}
