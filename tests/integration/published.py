"""Topics nobody else uses, and messages on them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
from confluent_kafka import Producer

from schemas.reading_set import ReadingSet
from worker.kafka_security import librdkafka_config
from worker.local.topics import create_topics
from worker.settings import Settings

Publish = Callable[..., None]
HOUR_MS = 3_600_000
START_MS = 1_790_000_000_000


def installed(settings: Settings, **changes: str) -> Settings:
    """Give the installation topics nobody else uses."""
    name = uuid4().hex[:8]
    topics = {
        field: f"{field.removeprefix('topic_').replace('_', '-')}-{name}"
        for field in Settings.__struct_fields__
        if field.startswith("topic_")
    }
    settings = msgspec.structs.replace(settings, **{**topics, **changes})
    names = settings.topics.all()
    create_topics(
        settings.kafka_bootstrap,
        dict.fromkeys(names, 2),
        config={topic: settings.topics.config(topic) for topic in names},
        client_config=librdkafka_config(settings),
    )
    return settings


def publisher(settings: Settings) -> Publish:
    """Return how to publish values, JSON or as they are, to a topic."""

    def publish(topic: str, *messages: tuple[str, Any]) -> None:
        producer = Producer({**librdkafka_config(settings), "partitioner": "murmur2_random"})
        for key, value in messages:
            raw = value if isinstance(value, bytes | None) else json.dumps(value).encode()
            producer.produce(topic, raw, key)
        assert producer.flush(30) == 0

    return publish


def click(user_id: str, article_id: str, hour: float, event_id: str | None = None, **more: Any):
    return user_id, {
        "user_id": user_id,
        "article_id": article_id,
        "timestamp": START_MS + int(hour * HOUR_MS),
        "event_id": event_id,
        **more,
    }


def clicks_of(out: Path) -> list[tuple[str, str, float]]:
    return [
        (each.user_id, each.article_id, (each.timestamp - START_MS) / HOUR_MS)
        for each in ReadingSet(out).clicks()
        if isinstance(each.timestamp, int)
    ]
