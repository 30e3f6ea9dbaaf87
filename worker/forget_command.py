"""`frontpage forget`: ask the workers to erase a reader, and wait until it is done."""

import asyncio
import os
import time

import click
import msgspec
from confluent_kafka import KafkaError, Message

from schemas.errors import UnavailableError
from schemas.records import Erasure
from worker.commands import with_redis
from worker.erasure_store import ErasureStore
from worker.kept import kept_of
from worker.reader_id import ReaderId
from worker.redis_client import Client
from worker.settings import Settings, read_settings

POLL_S = 0.1
DELIVERY_S = 30.0


@click.command()
@click.argument("user", type=ReaderId())
@click.option("--wait/--no-wait", default=True, help="Whether to wait until it is done.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0.1),
    default=60.0,
    show_default=True,
    help="Seconds to wait.",
)
def forget(user: str, wait: bool, timeout_s: float) -> None:
    """Erase all that is held of a reader.

    Publishes the request, and waits until a worker has done it: nothing of the reader is in Redis,
    and tombstones are on the topics. What the reader did up to now is not used any more, whatever
    is replayed; if they come back, they begin anew.
    """
    settings = read_settings(os.environ)
    now_ms = time.time_ns() // 1_000_000
    partition, offset = _publish(settings, Erasure(user_id=user, requested_at=now_ms))
    if not wait:
        click.echo("the request is published")
        return
    if not _is_processed(settings, partition, offset, timeout_s):
        raise UnavailableError(
            f"not erased within {timeout_s:g} s; the request is published, and is done as soon as "
            f"a worker of the group {settings.app_id} runs"
        )
    num_kept = with_redis(settings, lambda client: _num_kept(client, settings, user, now_ms))
    if num_kept:
        click.echo(f"erased; the reader has come back since, and {num_kept} keys are held")
    else:
        click.echo("erased: Redis holds nothing of the reader")


def _publish(settings: Settings, erasure: Erasure) -> tuple[int, int]:
    """Publish the request; return its partition and offset."""
    from worker.emitter import connect_producer
    from worker.kafka_security import librdkafka_config

    producer = connect_producer(librdkafka_config(settings))
    places: list[tuple[int, int]] = []
    failures: list[str] = []

    def note(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            failures.append(error.str())
        else:
            places.append((message.partition() or 0, message.offset() or 0))

    value = msgspec.json.encode(erasure)
    producer.produce(settings.topic_erasures, value, erasure.user_id, on_delivery=note)
    if producer.flush(DELIVERY_S) or failures:
        reason = failures[0] if failures else "no answer"
        raise UnavailableError(f"Kafka, topic {settings.topic_erasures}: {reason}")
    return places[0]


def _is_processed(settings: Settings, partition: int, offset: int, timeout_s: float) -> bool:
    """Wait until the workers have committed the message; tell whether they have."""
    from worker.kafka_security import librdkafka_config
    from worker.replay import Progress

    deadline = time.monotonic() + timeout_s
    ends = {(settings.topic_erasures, partition): offset + 1}
    progress = Progress(librdkafka_config(settings), settings.app_id, ends)
    try:
        while progress.num_left():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True
    finally:
        progress.close()


async def _num_kept(client: Client, settings: Settings, user: str, time_ms: int) -> int:
    """Return how many keys are held of an erased reader.

    Raises:
        UnavailableError: when the reader is not marked as erased.
    """
    store = ErasureStore(client, settings.ttl_ms, settings.marks_ttl_ms)
    (marked_ms,), kept = await asyncio.gather(store.marks([user]), kept_of(client, user))
    if marked_ms < time_ms:
        raise UnavailableError(
            "the workers have taken the request, but this Redis does not say so: is it theirs?"
        )
    return len(kept)
