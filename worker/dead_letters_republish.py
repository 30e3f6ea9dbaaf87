"""Send dead letters back to the topics that they came from."""

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message
from tqdm import tqdm

from schemas.records import REPUBLISHED_FROM
from worker.dead_letters import Letter, read_letters
from worker.emitter import connect_producer
from worker.kafka_security import librdkafka_config
from worker.settings import Settings
from worker.snapshot_reader import TopicReader

DELIVERY_TIMEOUT_S = 30.0
_QUEUED_KB = 65_536  # how much may wait to be sent, in place of the library's gigabyte


class How(msgspec.Struct, frozen=True, kw_only=True):
    """Where letters are sent, and which of the doubtful ones."""

    to: str | None = None
    """Another topic than the one each came from."""
    from_source: bool = False
    """Send the whole of a truncated letter, where its topic still has it."""
    again: bool = False
    """Also send letters of messages that had been dead letters, and sent again, before."""

    def obstacle(self, letter: Letter) -> str | None:
        """Say why a letter is left out, as far as the letter itself tells."""
        if letter.about is None:
            return "unreadable"
        # The first letter of the same message holds the same bytes. Sent both, and both dead
        # letters again, they would be four the next time, and then eight.
        if letter.about.republished_from is not None and not self.again:
            return "republished before"
        if letter.about.truncated and not self.from_source:
            return "truncated"
        return None


class Failure(NamedTuple):
    """A letter that was not delivered."""

    place: str
    """Where the letter stands: topic[partition]@offset."""
    reason: str


class Plan:
    """Which letters go where: decided before the first is sent, so that none that comes of it is.

    Raises:
        UnavailableError: when the letters cannot be read.
    """

    def __init__(self, letters: Iterable[Letter], how: How) -> None:
        self.places: dict[tuple[int, int], str] = {}
        """The target of each letter, by partition and offset."""
        self.targets: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        """Letters by why they are not sent."""
        for letter in letters:
            obstacle = how.obstacle(letter)
            if obstacle is not None:
                self.left_out[obstacle] += 1
                continue
            target = how.to or letter.topic
            assert target is not None, "an unreadable letter is left out"
            self.places[letter.partition, letter.offset] = target
            self.targets[target] += 1


class Originals:
    """The whole messages of truncated letters, from the topics they came from.

    Raises:
        UnavailableError: when the brokers do not answer.
    """

    def __init__(self, reader: TopicReader) -> None:
        self._reader = reader
        self._known = reader.partitions()

    def find(self, letter: Letter) -> Message | None:
        """Return the message the letter was made of; None when it is no more."""
        about = letter.about
        assert about is not None
        if about.partition not in self._known.get(about.topic, ()):
            return None
        found = self._reader.fetch(about.topic, about.partition, about.offset)
        # A topic that was made anew has other messages at the same offsets.
        if found is None or not (
            len(found.value() or b"") == about.size
            and (found.value() or b"").startswith(letter.value or b"")
            and (found.key() or b"").startswith(letter.key or b"")
        ):
            return None
        return found


class Republisher:
    """A producer of letters that knows of each what became of it.

    Raises:
        SettingsError: when librdkafka refuses a setting, such as an unusable certificate.
    """

    def __init__(self, client_config: dict[str, Any]) -> None:
        self._producer = connect_producer(
            {
                **client_config,
                "compression.type": "lz4",
                "message.timeout.ms": int(DELIVERY_TIMEOUT_S * 1000),
                # A batch that is sent again must not come after the next: letters of one key
                # arrive in the order in which they were put aside.
                "max.in.flight.requests.per.connection": 1,
                "message.max.bytes": 1_000_000_000,  # the topics say what is too large
                "queue.buffering.max.kbytes": _QUEUED_KB,
            }
        )
        self.sent: Counter[str] = Counter()
        """Letters that have arrived, by topic."""
        self.failures: list[Failure] = []
        """Those that have not."""

    def send(self, topic: str, letter: Letter, key: bytes | None, value: bytes | None) -> None:
        """Queue a letter; a full queue is waited out."""
        note: Callable[[KafkaError | None, Message], None] = partial(
            self._note, topic, letter.place
        )
        headers: list[tuple[str, str | bytes | None]] = [(REPUBLISHED_FROM, letter.place)]
        while True:
            try:
                self._producer.produce(topic, value, key, headers=headers, on_delivery=note)
                break
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                self.failures.append(Failure(letter.place, error.args[0].str()))
                break
        self._producer.poll(0)

    def finish(self) -> None:
        """Wait until it is known of every letter whether it has arrived."""
        # The library itself gives every message up in time, so that this ends.
        while self._producer.flush(1.0):
            pass

    def _note(self, topic: str, place: str, error: KafkaError | None, _: Message) -> None:
        if error is None:
            self.sent[topic] += 1
        else:
            self.failures.append(Failure(place, error.str()))


def send_letters(
    settings: Settings, reader: TopicReader, plan: Plan
) -> tuple[Counter[str], list[Failure]]:
    """Send the letters of a plan, with a progress bar; return how many arrived, and what did not.

    Letters whose whole is gone are added to what the plan leaves out.

    Raises:
        UnavailableError: when letters cannot be read.
    """
    republisher = Republisher(librdkafka_config(settings))
    with (
        closing(TopicReader(settings)) as source,
        tqdm(desc="letters", total=len(plan.places), unit="") as progress,
    ):
        originals = Originals(source)
        for letter in read_letters(reader, settings.topic_dead_letters, contents=True):
            target = plan.places.get((letter.partition, letter.offset))
            if target is None:
                continue
            key, value = letter.key, letter.value
            if letter.about is not None and letter.about.truncated:
                original = originals.find(letter)
                if original is None:
                    plan.left_out["truncated, and the whole is gone"] += 1
                    continue
                key, value = original.key(), original.value()
            republisher.send(target, letter, key, value)
            progress.update()
        republisher.finish()
    return republisher.sent, republisher.failures
