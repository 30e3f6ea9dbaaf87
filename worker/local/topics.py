"""Create topics on any Kafka-protocol broker and wait until they can be written to."""

from __future__ import annotations

import time
from collections.abc import Mapping

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._metadata import TopicMetadata  # `admin` does not export the name
from confluent_kafka.cimpl import NewTopic

from schemas.errors import UnavailableError

ClientConfig = Mapping[str, str | int | float | bool]
_POLL_S = 0.05
_NO_ANSWER = {KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}


class TopicError(UnavailableError):
    """Topics could not be created or did not become ready; the message is one line."""


def create_topics(
    bootstrap_servers: str,
    topics: Mapping[str, int],
    *,
    config: Mapping[str, Mapping[str, str]] | None = None,
    replication_factor: int = -1,
    client_config: ClientConfig | None = None,
    timeout_s: float = 30.0,
) -> dict[str, int]:
    """Create the topics that are missing and wait until each partition has a leader.

    topics: name to number of partitions; config: name to topic settings such as
    `cleanup.policy`; replication_factor: -1 leaves it to the broker; client_config: librdkafka
    settings for security. A topic that exists is left as it is, partitions and settings.
    Returns the number of partitions each topic has.

    Raises: TopicError when the broker refuses one or they are not ready after `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    # One typed error is enough: librdkafka would print each failed connection attempt too.
    quiet: ClientConfig = {"log_level": 0, **(client_config or {})}
    admin = AdminClient({**quiet, "bootstrap.servers": bootstrap_servers})
    try:
        created = admin.create_topics(
            [
                NewTopic(name, count, replication_factor, config=dict((config or {}).get(name, {})))
                for name, count in topics.items()
            ],
            request_timeout=timeout_s,
        )
        for name, outcome in created.items():
            try:
                outcome.result(timeout_s)
            except KafkaException as error:
                if error.args[0].code() in _NO_ANSWER:
                    raise  # it is the broker that is missing, whatever the topic
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise TopicError(f"topic {name}: {error.args[0].str()}") from error
        return _wait_for_leaders(admin, topics, deadline)
    except (KafkaException, TimeoutError) as error:
        raise TopicError(f"topics on {bootstrap_servers}: {_reason(error)}") from error


def _wait_for_leaders(
    admin: AdminClient, topics: Mapping[str, int], deadline: float
) -> dict[str, int]:
    while True:
        remaining_s = max(deadline - time.monotonic(), 0.1)
        known = admin.list_topics(timeout=remaining_s).topics
        ready = {name: len(known[name].partitions) for name in topics if _is_ready(known.get(name))}
        if len(ready) == len(topics):
            return ready
        if time.monotonic() > deadline:
            missing = ", ".join(sorted(set(topics) - set(ready)))
            raise TopicError(f"no leader for every partition of: {missing}")
        time.sleep(_POLL_S)


def _is_ready(topic: TopicMetadata | None) -> bool:
    return (
        topic is not None
        and topic.error is None
        and len(topic.partitions) > 0
        and all(partition.leader >= 0 for partition in topic.partitions.values())
    )


def _reason(error: Exception) -> str:
    return error.args[0].str() if isinstance(error, KafkaException) else "no answer in time"
