"""`frontpage dead-letters` on a real broker, with letters as the worker writes them."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Message, Producer
from confluent_kafka.admin import AdminClient

from schemas.errors import UnavailableError
from schemas.records import REPUBLISHED_FROM
from tests.integration.published import installed
from tests.kafka_broker import BrokerUnavailableError, TestBroker, kafka_broker
from worker.dead_letters_command import dead_letters
from worker.emitter import Emitter, connect_producer
from worker.intake import decoder_of, sort_records
from worker.kafka_security import librdkafka_config
from worker.local.topics import create_topics
from worker.local.up import environment
from worker.settings import Settings
from worker.snapshot_reader import TopicReader

NOW_MS = 1_790_000_000_000
OVERSIZED = b'{"user_id": "' + b"x" * 1_010_000  # the broker takes it, the worker does not
BAD: list[tuple[bytes | None, bytes | None]] = [
    (b"jane", b"{not json \xff\x1b[2J"),
    (b"", b""),
    (None, b'{"user_id": 1}'),
    (b"\xff\x00", None),
    (b"big", OVERSIZED),
]


class Site:
    """An installation whose worker has refused what it was sent."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clicks, self.letters = settings.topic_clicks, settings.topic_dead_letters
        self._config = librdkafka_config(settings)

    def publish(self, *messages: tuple[bytes | None, bytes | None]) -> None:
        producer = connect_producer({**self._config, "message.max.bytes": 4_000_000})
        for key, value in messages:
            producer.produce(self.clicks, value, key)
        assert producer.flush(30) == 0

    async def refuse(self) -> None:
        """Dead-letter what is bad on the topic of clicks, by the worker's own parts."""
        decode = decoder_of(self.clicks, self.settings.topics)
        intake = sort_records(map(Record, self.read(self.clicks)), decode, NOW_MS)
        emitter = Emitter(self._config)
        for bad in intake.bad:
            emitter.send_dead_letter(self.letters, bad.key, bad.value, bad.letter)
        await emitter.delivered(0)

    def read(self, topic: str) -> list[Message]:
        reader = TopicReader(self.settings)
        try:
            return [*reader.read(topic, reader.find([topic])[topic])]
        finally:
            reader.close()

    def run(self, *arguments: str, answer: str | None = None) -> Result:
        return CliRunner(env=environment(self.settings)).invoke(dead_letters, arguments, answer)

    def listed(self, *arguments: str) -> list[dict[str, object]]:
        done = self.run("list", "--json", *arguments)
        assert done.exit_code == 0, done.output
        return [json.loads(each) for each in done.stdout.splitlines()]

    def republished(self, *arguments: str) -> dict[str, object]:
        done = self.run("republish", "--yes", "--json", *arguments)
        assert done.exit_code == 0, done.output
        found = json.loads(done.stdout)
        assert isinstance(found, dict)
        return found


class Record:
    """A message as the worker's own client hands it out."""

    def __init__(self, message: Message) -> None:
        self.topic, self.partition = message.topic(), message.partition()
        self.offset, self.timestamp = message.offset(), message.timestamp()[1]
        self.key, self.value, self.headers = message.key(), message.value(), message.headers()


@pytest.fixture
def site(kafka: TestBroker) -> Site:
    return Site(installed(Settings(kafka_bootstrap=kafka.bootstrap_servers)))


@pytest.fixture
async def refused(site: Site) -> Site:
    site.publish(*BAD)
    await site.refuse()
    return site


def contents(messages: list[Message]) -> set[tuple[bytes | None, bytes | None]]:
    return {(message.key(), message.value()) for message in messages}


async def test_letters_are_listed_and_show_nothing_of_a_reader_unasked(refused: Site) -> None:
    text = refused.run("list").stdout
    assert text.splitlines()[-1] == "5 letters, 1 truncated"
    assert f"{refused.clicks}: malformed: 1" in text
    assert "jane" not in text and "json" not in text

    shown = refused.run("list", "--show-values", "--reason", "malformed").stdout
    assert "    key:   jane\n    value: {not json \\xff\\u{1b}[2J\n" in shown

    fields = refused.listed("--show-values")
    found = {each["reason"]: each for each in fields}
    assert sorted(found) == ["empty", "invalid", "malformed", "oversized"]  # two are empty
    assert found["oversized"]["truncated"] and found["oversized"]["size"] == len(OVERSIZED)
    raw = {(of_base64(each["key"]), of_base64(each["value"])) for each in fields}
    assert raw >= set(BAD[:4])


async def test_letters_are_filtered(refused: Site) -> None:
    reasons = [
        each["reason"] for each in refused.listed("--reason", "empty", "--reason", "invalid")
    ]
    assert sorted(map(str, reasons)) == ["empty", "empty", "invalid"]
    assert len(refused.listed("--topic", refused.clicks)) == len(BAD)
    assert refused.listed("--topic", "elsewhere") == []
    newest = refused.listed("--limit", "2")
    assert newest == sorted(newest, key=lambda each: str(each["time"]))
    assert len(newest) == 2
    last = newest[-1]["time"]
    assert refused.listed("--since", "2200-01-01T00:00:00Z") == []
    assert len(refused.listed("--until", "2200-01-01T00:00:00Z")) == len(BAD)
    assert newest[-1] in refused.listed("--since", str(last))
    assert newest[-1] not in refused.listed("--until", str(last))


async def test_letters_go_back_byte_for_byte_to_the_partition_of_their_key(refused: Site) -> None:
    before = refused.read(refused.clicks)
    assert refused.republished() == {
        "sent": {refused.clicks: 4},
        "left_out": {"truncated": 1},
        "failed": 0,
        "dry_run": False,
    }
    places = {(message.partition(), message.offset()) for message in before}
    after = refused.read(refused.clicks)
    new = [each for each in after if (each.partition(), each.offset()) not in places]
    assert len(new) == 4 and contents(new) == set(BAD[:4])
    partitions = {each.key(): each.partition() for each in before if each.key() is not None}
    assert all(each.partition() == partitions.get(each.key(), each.partition()) for each in new)
    letters = {
        f"{refused.letters}[{each.partition()}]@{each.offset()}": each.value()
        for each in refused.read(refused.letters)
    }
    for message in new:
        ((name, place),) = message.headers() or []
        assert name == REPUBLISHED_FROM
        assert isinstance(place, bytes) and letters[place.decode()] == message.value()


async def test_the_whole_of_a_truncated_letter_comes_from_its_topic(
    refused: Site, kafka: TestBroker
) -> None:
    other = f"elsewhere-{uuid4().hex[:8]}"
    create_topics(kafka.bootstrap_servers, {other: 2})
    chosen = ("--to", other, "--reason", "oversized", "--from-source")
    assert refused.republished(*chosen)["sent"] == {other: 1}
    assert contents(refused.read(other)) == {BAD[4]}

    # A letter whose topic holds something else at that place by now, and one without its topic.
    emitter = Emitter(librdkafka_config(refused.settings))
    for topic in (refused.clicks, "gone"):
        (letter,) = (
            bad.letter
            for bad in sort_records(
                map(Record, refused.read(refused.clicks)),
                decoder_of(refused.clicks, refused.settings.topics),
                NOW_MS,
            ).bad
            if bad.letter.truncated
        )
        moved = msgspec.structs.replace(letter, topic=topic, reason="moved")
        emitter.send_dead_letter(refused.letters, b"big", b"something else", moved)
    await emitter.delivered(0)
    chosen = ("--to", other, "--reason", "moved", "--from-source")
    assert refused.republished(*chosen)["left_out"] == {"truncated, and the whole is gone": 2}


async def test_a_second_failure_is_recognised_and_does_not_multiply(site: Site) -> None:
    site.publish(BAD[0])
    await site.refuse()
    assert site.republished()["sent"] == {site.clicks: 1}
    await site.refuse()  # of both messages on the topic
    (first, *others) = sorted(site.listed(), key=lambda each: str(each["time"]))
    again = [each for each in others if each["republished_from"]]
    place = f"{site.letters}[{first['letter_partition']}]@{first['letter_offset']}"
    assert [each["republished_from"] for each in again] == [place]
    assert again[0]["reason"] == "malformed"
    report = site.republished("--dry-run")
    assert report["left_out"] == {"republished before": 1}
    assert site.republished("--dry-run", "--again")["left_out"] == {}


async def test_it_asks_and_a_dry_run_sends_nothing(refused: Site) -> None:
    before = len(refused.read(refused.clicks))
    done = refused.run("republish", "--dry-run")
    assert done.stdout.splitlines() == [
        f"would republish 4 letters to {refused.clicks} 4",
        "left out: truncated: 1",
    ]
    refusal = refused.run("republish", answer="n\n")
    assert refusal.exit_code == 1  # of the console script's, 130
    assert f"Republish 4 letters to {refused.clicks} 4?" in refusal.stderr
    assert len(refused.read(refused.clicks)) == before
    assert refused.run("republish", answer="y\n").exit_code == 0
    assert len(refused.read(refused.clicks)) == before + 4


async def test_letters_that_do_not_arrive_are_named(refused: Site, kafka: TestBroker) -> None:
    if kafka.kind.startswith("embedded"):
        pytest.skip("the embedded broker takes messages of any size")
    small = f"small-{uuid4().hex[:8]}"
    create_topics(kafka.bootstrap_servers, {small: 1}, config={small: {"max.message.bytes": "200"}})
    refused.publish((b"long", bytes(range(256)) * 20))
    await refused.refuse()
    done = refused.run("republish", "--yes", "--to", small)
    assert isinstance(done.exception, UnavailableError)
    assert "not delivered: " in done.stderr and "too large" in done.stderr
    assert f"to {small}" in done.stdout and len(refused.read(small)) > 0


async def test_what_is_no_letter_is_listed_and_not_sent(site: Site) -> None:
    producer = Producer(librdkafka_config(site.settings))
    producer.produce(site.letters, b"note", b"key")
    producer.produce(site.letters, b"note", b"key", headers=[("topic", b"\xff"), ("reason", None)])
    producer.produce(site.letters, None, None, headers={"\u00e9": b"\x00"})
    assert producer.flush(30) == 0
    assert [each["reason"] for each in site.listed()] == ["unreadable"] * 3
    assert site.run("list").stdout.splitlines()[-1] == "3 letters"
    report = site.republished("--to", site.clicks)
    assert (report["sent"], report["left_out"]) == ({}, {"unreadable": 3})


async def test_no_group_is_joined(refused: Site) -> None:
    refused.republished()
    admin = AdminClient(librdkafka_config(refused.settings))
    groups = {group.group_id for group in admin.list_consumer_groups().result(30).valid}
    assert not any(group.startswith(f"{refused.settings.app_id}-snapshot") for group in groups)


def test_what_is_missing_is_named(site: Site) -> None:
    changed = msgspec.structs.replace(site.settings, topic_dead_letters="nowhere")
    for command in (["list"], ["republish", "--yes"]):
        with pytest.raises(UnavailableError, match="no such topic: nowhere"):
            CliRunner(env=environment(changed)).invoke(
                dead_letters, command, catch_exceptions=False
            )


async def test_a_target_that_does_not_exist_stops_it_before_anything_is_sent(refused: Site) -> None:
    done = refused.run("republish", "--yes", "--to", "nowhere")
    assert str(done.exception) == "Kafka: no such topic: nowhere"


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Site]:
    try:
        with kafka_broker(tmp_path / "kafka", security="sasl_ssl") as kafka:
            settings = Settings(
                kafka_bootstrap=kafka.bootstrap_servers,
                kafka_security_protocol="SASL_SSL",
                kafka_sasl_mechanism=kafka.facts["mechanism"],  # type: ignore[arg-type]
                kafka_username=kafka.facts["username"],
                kafka_password=kafka.facts["password"],
                kafka_ca_file=Path(kafka.facts["ca_file"]),
            )
            yield Site(installed(settings))
    except BrokerUnavailableError as error:
        pytest.skip(str(error))


async def test_it_works_over_tls_with_a_password(secured: Site) -> None:
    secured.publish(BAD[0])
    await secured.refuse()
    assert secured.republished()["sent"] == {secured.clicks: 1}
    assert contents(secured.read(secured.clicks)) == {BAD[0]}


def of_base64(text: object) -> bytes | None:
    assert text is None or isinstance(text, str)
    return None if text is None else base64.b64decode(text)
