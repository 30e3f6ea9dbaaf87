"""How many messages wait for this worker, by what the brokers say.

They are asked by a client of its own. The worker's consumer knows the end of a partition from its
fetches: one that no longer fetches would find that there is nothing to do.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, Protocol

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka import admin as kafka_admin
from confluent_kafka.admin import AdminClient

from worker.chunks import Place

TIMEOUT_S = 5.0

logger = logging.getLogger(__name__)


class Assigned(Protocol):
    """What is asked of the worker's consumer."""

    def assignment(self) -> Collection[Place]:
        """Return the partitions that the worker has."""
        ...

    def highwater(self, tp: Any, /) -> int:
        """Return the end of a partition, as last heard of; negative before."""
        ...


class Offsets(NamedTuple):
    """What the brokers say of a partition."""

    begin: int
    """Of what they still have."""
    end: int
    committed: int
    """Negative where nothing is."""


class Lag:
    """Follow how much of the partitions that a worker has is not stored yet.

    client_config: for librdkafka. group: of the workers.
    """

    def __init__(self, client_config: Mapping[str, Any], group: str) -> None:
        self._client_config = {"log_level": 0, **client_config}
        self._group = group
        self._consumer: Assigned | None = None
        self._clients: tuple[AdminClient, Consumer] | None = None
        self._lag: dict[Place, int] = {}
        self.brokers_answer = True
        """Whether they did when they were asked last."""

    def follow(self, consumer: Assigned) -> None:
        """Say whose partitions they are."""
        self._consumer = consumer

    def by_partition(self) -> dict[Place, int]:
        """Return how many messages of each partition were not committed when that was asked."""
        own = set() if self._consumer is None else set(self._consumer.assignment())
        return {place: num for place, num in self._lag.items() if place in own}

    async def ask(self) -> None:
        """Ask the brokers about this worker's partitions."""
        consumer = self._consumer
        places = [] if consumer is None else list(consumer.assignment())
        if consumer is None or not places:
            return
        try:
            found = await asyncio.to_thread(self._ask, places)
        except KafkaException as error:
            if self.brokers_answer:
                logger.warning("the brokers do not say what waits: %s", error.args[0].name())
            self.brokers_answer = False
            return
        self.brokers_answer = True
        for place, each in found.items():
            # The embedded broker does not tell the end; what comes with messages is right.
            end = max(each.end, consumer.highwater(place))
            self._lag[place] = max(0, end - max(each.committed, each.begin))

    def _ask(self, places: list[Place]) -> dict[Place, Offsets]:
        if self._clients is None:
            own = {**self._client_config, "group.id": self._group, "enable.auto.commit": False}
            # The second never subscribes: it asks for the group's offsets without joining it.
            self._clients = AdminClient(self._client_config), Consumer(own)
        admin, group = self._clients
        partitions = [TopicPartition(*place) for place in places]
        committed = {
            (each.topic, each.partition): each.offset
            for each in group.committed(partitions, TIMEOUT_S)
        }
        # Some versions of the client have types, but none for these.
        of: Any = vars(kafka_admin)["OffsetSpec"]
        begins, ends = (
            admin.list_offsets(dict.fromkeys(partitions, spec), request_timeout=TIMEOUT_S)
            for spec in (of.earliest(), of.latest())
        )
        return {
            (each.topic, each.partition): Offsets(
                begins[each].result().offset,
                ends[each].result().offset,
                committed[each.topic, each.partition],
            )
            for each in partitions
        }
