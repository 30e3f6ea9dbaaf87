"""The workers' consumer group, as an operator sees it: who is in it, and where it stands."""

import time
from collections.abc import Iterable, Mapping
from contextlib import closing

from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from schemas.errors import UnavailableError
from worker.kafka_security import librdkafka_config
from worker.settings import Settings
from worker.snapshot_reader import TopicReader

TIMEOUT_S = 10.0
_POLL_S = 0.5

_EMPTY = (ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD)
_NO_GROUP = (KafkaError.GROUP_ID_NOT_FOUND, KafkaError.INVALID_GROUP_ID)

Offsets = dict[tuple[str, int], int]
"""By topic and partition."""


class ConsumerGroup:
    """Look at the group of these settings, and move it."""

    def __init__(self, settings: Settings) -> None:
        self.name = settings.app_id
        self._config = {"log_level": 0, **librdkafka_config(settings)}
        self._admin = AdminClient(self._config)

    def num_members(self) -> int:
        """Return how many workers are in the group.

        Raises:
            UnavailableError: when the brokers do not answer.
        """
        try:
            found = self._admin.describe_consumer_groups([self.name], request_timeout=TIMEOUT_S)
            group = found[self.name].result(TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].code() in _NO_GROUP:
                return 0
            raise UnavailableError(f"consumer group {self.name}: {error.args[0].str()}") from error
        except TimeoutError as error:
            raise UnavailableError(f"consumer group {self.name}: no answer") from error
        return 0 if group.state in _EMPTY else max(1, len(group.members))

    def wait_until_empty(self, timeout_s: float) -> None:
        """Wait until no worker is left in the group.

        Raises:
            UnavailableError: when there still is one, or the brokers do not answer.
        """
        deadline = time.monotonic() + timeout_s
        while (num_members := self.num_members()) > 0:
            if time.monotonic() >= deadline:
                raise UnavailableError(
                    f"consumer group {self.name}: {num_members} workers run; stop them first "
                    "(one that was killed leaves a session timeout later)"
                )
            time.sleep(_POLL_S)

    def committed(self, places: Iterable[tuple[str, int]]) -> Offsets:
        """Return the committed offsets, of the partitions that have one.

        Raises:
            UnavailableError: when the brokers do not answer.
        """
        asked = [TopicPartition(topic, partition) for topic, partition in places]
        # Never subscribed, so it asks without joining.
        consumer = Consumer({**self._config, "group.id": self.name, "enable.auto.commit": False})
        try:
            found = consumer.committed(asked, timeout=TIMEOUT_S)
        except KafkaException as error:
            raise UnavailableError(f"consumer group {self.name}: {error.args[0].str()}") from error
        finally:
            consumer.close()
        return {(each.topic, each.partition): each.offset for each in found if each.offset >= 0}

    def move(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Set committed offsets; brokers refuse it while the group has a member.

        Raises:
            UnavailableError: when they refuse, or do not answer.
        """
        if not offsets:
            return
        places = [TopicPartition(*place, offset) for place, offset in offsets.items()]
        asked = ConsumerGroupTopicPartitions(self.name, places)
        try:
            answer = self._admin.alter_consumer_group_offsets([asked], request_timeout=TIMEOUT_S)
            moved = answer[self.name].result(TIMEOUT_S)
        except (KafkaException, TimeoutError) as error:
            reason = error.args[0].str() if isinstance(error, KafkaException) else "no answer"
            raise UnavailableError(f"consumer group {self.name}: not set back: {reason}") from error
        for place in moved.topic_partitions:
            if place.error is not None:
                raise UnavailableError(
                    f"consumer group {self.name}, topic {place.topic}: not set back: "
                    f"{place.error.str()}"
                )


def has_worked_before(settings: Settings) -> bool:
    """Tell whether the group has processed clicks or impressions; not where nobody answers."""
    topics = (settings.topic_clicks, settings.topic_impressions)
    try:
        with closing(TopicReader(settings)) as reader:
            found = reader.find(topics)
        places = [(topic, each) for topic, partitions in found.items() for each in partitions]
        return any(ConsumerGroup(settings).committed(places).values())
    except UnavailableError:
        return False
