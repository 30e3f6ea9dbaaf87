"""A confluent-kafka loop over the worker's pure functions, batch by batch: no framework."""

import asyncio
import signal

from confluent_kafka import Consumer, Message, TopicPartition

from tests.benchmarks.stream.contestants.parts import Parts, settings_of_process
from worker.chunks import Record
from worker.fetching import record_of
from worker.kafka_security import librdkafka_config
from worker.model import load_model

POLL_S = 0.1


def main() -> None:
    """Consume until SIGTERM."""
    running = [True]
    signal.signal(signal.SIGTERM, lambda *_: running.clear())
    settings = settings_of_process()
    parts = Parts(settings, load_model(settings.bundle))
    asyncio.run(_run(parts, running))


async def _run(parts: Parts, running: list[bool]) -> None:
    settings = parts.settings
    await parts.load()
    consumer = Consumer(
        {
            **librdkafka_config(settings),
            "group.id": settings.app_id,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": round(settings.fetch_wait_s * 1000),
        }
    )
    consumer.subscribe([settings.topic_clicks])
    try:
        while running:
            await parts.follow()
            messages = fetch(consumer, settings.batch_size)
            if messages:
                await parts.take(messages)
                consumer.commit(offsets=ends(messages), asynchronous=True)
    finally:
        consumer.close()
        await parts.redis.aclose()


def fetch(consumer: Consumer, batch_size: int) -> list[Record]:
    """Return what there is, at most a batch of it."""
    # Waiting for a whole batch would make a click wait where traffic is light.
    first = consumer.poll(POLL_S)
    if first is None:
        return []
    rest = consumer.consume(batch_size - 1, 0)
    return [record(message) for message in (first, *rest)]


def ends(records: list[Record]) -> list[TopicPartition]:
    """Return where the partitions are to be gone on with.

    Said out loud: a commit without it is of what has been fetched by the time it is sent, which
    may be the next batch, not stored yet.
    """
    last = {(record.topic, record.partition): record.offset for record in records}
    return [TopicPartition(*place, offset + 1) for place, offset in last.items()]


def record(message: Message) -> Record:
    """Return a message as the worker's functions take it."""
    if error := message.error():
        raise RuntimeError(f"Kafka: {error.str()}")
    return record_of(message)


if __name__ == "__main__":
    main()
