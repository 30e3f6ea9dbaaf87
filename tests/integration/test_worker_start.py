"""What a worker needs of Kafka before it starts."""

from uuid import uuid4

import msgspec
import pytest

from schemas.errors import UnavailableError
from tests.kafka_broker import TestBroker
from worker.app import check_kafka
from worker.local.topics import create_topics
from worker.settings import Settings


def test_a_worker_does_without_the_topic_of_labels(kafka: TestBroker) -> None:
    """It is read by `frontpage snapshot` alone."""
    if kafka.kind.startswith("embedded"):
        pytest.skip("the embedded broker makes topics when asked for them")
    settings = Settings(kafka_bootstrap=kafka.bootstrap_servers)
    fields = [field for field in settings.__struct_fields__ if field.startswith("topic_")]
    names = {field: f"{field.replace('_', '-')}-{uuid4().hex[:8]}" for field in fields}
    settings = msgspec.structs.replace(settings, **names)
    others = dict.fromkeys(set(names.values()) - {settings.topic_reader_labels}, 1)
    create_topics(kafka.bootstrap_servers, others)
    check_kafka(settings)
    missing = msgspec.structs.replace(settings, topic_erasures="erasures-that-nobody-made")
    with pytest.raises(UnavailableError, match="no such topic: erasures-that-nobody-made"):
        check_kafka(missing)
