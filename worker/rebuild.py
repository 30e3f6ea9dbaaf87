"""Set a consumer group back to where its topics begin, so that its workers build Redis anew.

    erasures, preferences ─► this command ─► marks and wishes in Redis
    articles, clicks, impressions, preferences ─► the group's offsets ─► workers, started again

What the workers do is harmless to repeat, so nothing else is needed, and it goes as fast as they
are. But order matters for two topics. Whoever was erased must be so before the first of their old
clicks is read, or estimates of them would be stored and sent once more; and a worker that meets an
erasure before the reader's newer preferences would delete these from their topic. So both are in
Redis before a worker starts, in this order, and erasures are not read again by the workers.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple
from uuid import uuid4

from confluent_kafka import Message

from schemas import keys
from schemas.preferences import newest, time_of
from schemas.topics import Topics
from worker.bygone import Sieve
from worker.erasure_store import ErasureStore
from worker.intake import Intake, decoder_of, empty_decoder_of, sort_records
from worker.reader_store import PageUpdate, ReaderStore
from worker.redis_client import Client
from worker.settings import Settings
from worker.snapshot_reader import Extent, TopicReader

MESSAGES_AT_ONCE = 10_000
READERS_AT_ONCE = 1000

Place = tuple[str, int]
"""Topic and partition."""


class Plan(NamedTuple):
    """What is to be read again."""

    extents: dict[Place, Extent]
    """Of every partition of the topics that state follows from."""
    committed: dict[Place, int]
    """Where the group is, of the partitions where it has been."""
    topics: Topics

    @property
    def offsets(self) -> dict[Place, int]:
        """Where the group is to be; where it has never been, its workers begin by themselves."""
        return {
            place: min(extent.begin, self.committed[place])
            for place, extent in self.extents.items()
            if place in self.committed and place[0] != self.topics.erasures
        }

    def num_messages(self) -> dict[str, int]:
        """Return how many messages of each topic are to be read; what is compacted away counts."""
        offsets, found = self.offsets, dict[str, int]()
        for place, extent in self.extents.items():
            begin = offsets.get(place, extent.begin)
            found[place[0]] = found.get(place[0], 0) + extent.end - begin
        return found

    def cut(self) -> dict[str, int | None]:
        """Return the topics whose beginning is gone, and when what is left of them begins."""
        found: dict[str, int | None] = {}
        for (topic, _), extent in self.extents.items():
            if extent.is_cut:
                times = [each for each in (found.get(topic), extent.first_ms) if each is not None]
                found[topic] = max(times, default=None)
        return found


def plan(
    settings: Settings, reader: TopicReader, committed: Mapping[Place, int], since_ms: int | None
) -> Plan:
    """Look where the topics begin and end.

    since_ms: from when clicks and impressions are read again; None for all there are.

    Raises:
        UnavailableError: when the brokers do not answer or a topic does not exist.
    """
    topics = settings.topics
    by_time = {topics.clicks, topics.impressions} - {topics.articles}
    extents = {
        (topic, partition): reader.extent(topic, partition, since_ms if topic in by_time else None)
        for topic, partitions in reader.find(sources(topics)).items()
        for partition in partitions
    }
    return Plan(
        extents, {place: committed[place] for place in extents if place in committed}, topics
    )


def sources(topics: Topics) -> list[str]:
    """Return the topics that state follows from; visits are answered and leave none."""
    names = (
        topics.erasures,
        topics.preferences,
        topics.articles,
        topics.clicks,
        topics.impressions,
    )
    return list(dict.fromkeys(names))


class Marked(NamedTuple):
    """What was put into Redis."""

    erasures: int
    preferences: int


async def mark(client: Client, settings: Settings, reader: TopicReader) -> Marked:
    """Put erasures, then preferences, into Redis; what is held that is newer stays.

    Bad messages among them are left to the workers, who have buried them or will.

    Raises:
        UnavailableError: when the brokers do not answer.
    """
    num_erasures = num_wishes = 0
    erasures = ErasureStore(client, settings.ttl_ms, settings.marks_ttl_ms)
    for intake in _intakes(settings.topic_erasures, settings, reader):
        if intake.erasures:
            await erasures.erase(intake.erasures, _now_ms())
            num_erasures += len(intake.erasures)
    readers = ReaderStore(client, settings.ttl_ms, "")
    for intake in _intakes(settings.topic_preferences, settings, reader):
        names = list(intake.preferences)
        for start in range(0, len(names), READERS_AT_ONCE):
            part = names[start : start + READERS_AT_ONCE]
            num_wishes += await _wish(readers, part, intake)
    # A worker that starts now finds Redis begun, and does not warn that it came back empty.
    begun = uuid4().hex.encode()
    await client.set(keys.STATISTICS_EPOCH, begun, nx=True, px=settings.ttl_ms)
    return Marked(num_erasures, num_wishes)


def _intakes(topic: str, settings: Settings, reader: TopicReader) -> Iterator[Intake]:
    decode = decoder_of(topic, settings.topics)
    decode_empty = empty_decoder_of(topic, settings.topics)
    records = map(_Record, reader.read(topic, reader.find([topic])[topic]))
    while batch := list(islice(records, MESSAGES_AT_ONCE)):
        yield sort_records(batch, decode, _now_ms(), decode_empty)


async def _wish(readers: ReaderStore, user_ids: Sequence[str], intake: Intake) -> int:
    """Store these readers' preferences, if they are newer than what is held and than an erasure."""
    sieve = Sieve(intake.sent_ms)
    wishes = intake.preferences
    times_ms = {user_id: time_of(wishes[user_id]) for user_id in user_ids}
    pending, num_stored = list(user_ids), 0
    while pending:
        held = await readers.read(pending, [])
        bygone = sieve.visitors(pending, times_ms, wishes, held)
        updates = [
            PageUpdate(
                user_id,
                held.histories[at],
                b"",
                preferences_held=held.preferences[at],
                preferences=newest(held.preferences[at], wishes[user_id]),
                mark=held.marks[at],
            )
            for at, user_id in enumerate(pending)
            if user_id not in bygone
        ]
        lost = await readers.write_pages(updates)
        num_stored += len(updates) - len(lost)
        pending = [updates[at].user_id for at in sorted(lost)]
    return num_stored


class _Record:
    """A message as `sort_records` reads it."""

    def __init__(self, message: Message) -> None:
        self.topic: Any = message.topic()
        self.partition: Any = message.partition()
        self.offset: Any = message.offset()
        self.key = message.key()
        self.value = message.value()
        self.timestamp = message.timestamp()[1]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
