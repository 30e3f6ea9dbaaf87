"""How many messages wait for this worker: by what it has fetched, and by what the brokers say.

A consumer knows the end of a partition from its fetches. One that no longer fetches would find that
there is nothing to do; so the brokers are asked as well, by another client.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, cast

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from worker.transport import Consumer

TIMEOUT_S = 5.0

Partition = tuple[str, int]

logger = logging.getLogger(__name__)


class Lag:
    """Follow the ends of the partitions that a worker has.

    client_config: for librdkafka.
    """

    def __init__(self, client_config: Mapping[str, Any]) -> None:
        self._client_config = dict(client_config)
        self._consumer: Consumer | None = None
        self._admin: AdminClient | None = None
        self._ends: dict[Partition, int] = {}
        self.brokers_answer = True
        """Whether they did when they were asked last."""

    def follow(self, consumer: Consumer) -> None:
        """Say whose partitions they are, once it has been given some."""
        self._consumer = consumer

    def by_partition(self) -> dict[Partition, int]:
        """Return how many messages of each partition are not stored yet; nothing is asked."""
        if self._consumer is None:
            return {}
        found = {}
        for tp, state in _states(self._consumer).items():
            # What is committed follows a second later; and where nothing is left of what was, the
            # brokers have deleted it, it does not follow at all.
            done: int | None = self._consumer._committed_offset.get(cast("Any", tp))
            if not self._consumer.has_unstored(tp[0]) and state._position is not None:
                done = state._position
            end = max(state.highwater or 0, self._ends.get(tp, 0))
            found[tp] = max(0, end - (done or 0))
        return found

    async def ask(self) -> None:
        """Ask the brokers for the ends of this worker's partitions."""
        partitions = [] if self._consumer is None else list(_states(self._consumer))
        if not partitions:
            return
        try:
            self._ends = await asyncio.to_thread(self._ask, partitions)
            self.brokers_answer = True
        except KafkaException as error:
            if self.brokers_answer:
                logger.warning("brokers do not say where partitions end: %s", error.args[0].name())
            self.brokers_answer = False

    def _ask(self, partitions: list[Partition]) -> dict[Partition, int]:
        if self._admin is None:
            self._admin = AdminClient({"log_level": 0, **self._client_config})
        wanted = {TopicPartition(*each): OffsetSpec.latest() for each in partitions}
        asked = self._admin.list_offsets(wanted, request_timeout=TIMEOUT_S)
        return {
            (each.topic, each.partition): int(future.result().offset)
            for each, future in asked.items()
        }


def _states(consumer: Consumer) -> dict[Partition, Any]:
    """Return what aiokafka, in its own thread, knows of each partition that is assigned now."""
    inner = cast("Any", consumer._thread)._consumer
    subscription = None if inner is None else inner._subscription.subscription
    assignment = None if subscription is None else subscription.assignment
    if assignment is None:
        return {}
    return {(tp.topic, tp.partition): assignment.state_value(tp) for tp in assignment.tps}
