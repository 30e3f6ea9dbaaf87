"""Messages that no worker can use, each with the reasons it may be put aside for.

Whether a message is bad is known by how it was made; decoding it would prove nothing. Left out is
what looks bad and is not: a click without a `user_id` is an article; unknown fields may hold
anything, nested, long or not UTF-8; a timestamp of `5.0` is a whole number.
"""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec
from confluent_kafka import KafkaError, Message, Producer

from schemas.records import MAX_MESSAGE_BYTES, Click
from worker.replay import Offsets

Place = tuple[str, int, int]
"""Topic, partition, offset."""

Reasons = frozenset[str]

MS_PER_YEAR = 31_556_952_000
OVERSIZED_SHARE = 0.001
"""They are a megabyte each."""

_json = msgspec.json.Encoder()


class Poison(NamedTuple):
    """A bad message."""

    value: bytes | None
    reasons: Reasons
    everywhere: bool = False
    """Whether it is bad on every topic, not only on that of clicks."""


def _random_bytes(draw: random.Random, _: dict[str, Any]) -> Poison:
    # A worker may find a number or a list where an object should be, or no JSON at all.
    value = draw.randbytes(draw.randint(1, 200))
    return Poison(value, frozenset({"malformed", "invalid"}), everywhere=True)


def _truncated(draw: random.Random, click: dict[str, Any]) -> Poison:
    value = json.dumps(click).encode()
    cut = value[: draw.randint(1, len(value) - 1)]
    return Poison(cut, frozenset({"malformed", "invalid"}), everywhere=True)


def _wrong_type(draw: random.Random, click: dict[str, Any]) -> Poison:
    field = draw.choice(["user_id", "article_id", "timestamp", "event_id", "consent"])
    wrong: list[Any] = [1.5, [], {}, ["a"], {"a": 1}]
    if field != "consent":
        wrong += [True, ""]
    if field != "event_id":
        wrong.append(None)
    if field != "timestamp":
        wrong.append(7)
    else:
        wrong += ["yesterday", "2026-01-05T10:00:00", "1767571200000"]
    return _changed(click, "invalid", **{field: draw.choice(wrong)})


def _missing(draw: random.Random, click: dict[str, Any]) -> Poison:
    without = dict(click)
    del without[draw.choice(["article_id", "timestamp"])]
    return Poison(json.dumps(without).encode(), frozenset({"invalid"}))


def _huge(draw: random.Random, click: dict[str, Any]) -> Poison:
    if draw.random() < OVERSIZED_SHARE * 10:  # of the ten kinds this is one
        return _changed(click, "oversized", title="x" * (MAX_MESSAGE_BYTES + draw.randint(0, 9999)))
    field = draw.choice(["user_id", "article_id", "event_id"])
    text = draw.choice(["x", "ü", "漢", "😀"]) * draw.randint(513, 20_000)
    return _changed(click, "invalid", **{field: text})


def _nested(draw: random.Random, click: dict[str, Any]) -> Poison:
    depth = draw.randint(2_000, 50_000)
    opened, closed = draw.choice([(b"[", b"]"), (b'{"a":', b"}")])
    deep = opened * depth + b"1" + closed * depth
    known = json.dumps(click).encode()[:-1]
    value = known + b',"more":' + deep + b"}"
    return Poison(value, frozenset({"malformed"}), everywhere=True)


def _not_finite(draw: random.Random, click: dict[str, Any]) -> Poison:
    number = draw.choice([b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999"])
    value = json.dumps({**click, "timestamp": "?"}).encode().replace(b'"?"', number)
    return Poison(value, frozenset({"malformed", "invalid"}))


def _not_utf8(draw: random.Random, click: dict[str, Any]) -> Poison:
    wrong = draw.choice([b"\xff", b"\xc3(", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\\ud800"])
    field = draw.choice(["user_id", "article_id", "event_id"])
    value = json.dumps({**click, field: "a?b"}).encode().replace(b"a?b", b"a" + wrong + b"b")
    return Poison(value, frozenset({"malformed"}))


def _empty(draw: random.Random, _: dict[str, Any]) -> Poison:
    return Poison(draw.choice([None, b""]), frozenset({"empty"}))


def _other_time(draw: random.Random, click: dict[str, Any]) -> Poison:
    time_ms, reason, text = draw.choice(
        [
            (click["timestamp"] + 1000 * MS_PER_YEAR, "future", "3026-01-05T10:00:00Z"),
            (click["timestamp"] - 1000 * MS_PER_YEAR, "timestamp", "1026-01-05T10:00:00Z"),
            (10**18, "timestamp", "9999-12-31T23:59:59-12:00"),
            (-(10**30), "timestamp", "0001-01-01T00:00:00Z"),
        ]
    )
    return _changed(click, reason, timestamp=draw.choice([time_ms, text]))


def _changed(click: dict[str, Any], reason: str, **changes: Any) -> Poison:
    return Poison(json.dumps({**click, **changes}).encode(), frozenset({reason}))


KINDS: tuple[Callable[[random.Random, dict[str, Any]], Poison], ...] = (
    _random_bytes,
    _truncated,
    _wrong_type,
    _missing,
    _huge,
    _nested,
    _not_finite,
    _not_utf8,
    _empty,
    _other_time,
)


def poison(seed: int, clicks: Iterator[Click]) -> Iterator[Poison]:
    """Yield bad messages for ever, each made from a good click; all kinds are as frequent."""
    draw = random.Random(seed)
    while True:
        click: dict[str, Any] = msgspec.to_builtins(next(clicks))
        yield draw.choice(KINDS)(draw, click)


class Poisoner:
    """Publish good and bad messages, and note where the bad ones stand."""

    def __init__(self, client_config: dict[str, Any]) -> None:
        self._producer = Producer(
            {
                **client_config,
                # A message that is sent again must not stand on the topic twice.
                "enable.idempotence": True,
                "linger.ms": 20,
                "message.max.bytes": 4_000_000,
                "queue.buffering.max.kbytes": 200_000,
                "partitioner": "murmur2_random",
            }
        )
        self._error: KafkaError | None = None
        self.ends: Offsets = {}
        self.bad: dict[Place, Reasons] = {}

    def click(self, topic: str, click: Click, key: bytes | None) -> None:
        """Publish a good click, under whatever key."""
        self._produce(topic, key, _json.encode(click), None)

    def poison(self, topic: str, poison: Poison, key: bytes | None) -> None:
        """Publish a bad message."""
        self._produce(topic, key, poison.value, poison.reasons)

    def flush(self) -> None:
        """Wait until all has arrived."""
        assert self._producer.flush(120) == 0
        assert self._error is None, self._error

    def _produce(
        self, topic: str, key: bytes | None, value: bytes | None, reasons: Reasons | None
    ) -> None:
        def note(error: KafkaError | None, message: Message) -> None:
            self._error = self._error or error
            partition, offset = message.partition() or 0, message.offset() or 0
            self.ends[topic, partition] = max(self.ends.get((topic, partition), 0), offset + 1)
            if reasons is not None:
                self.bad[topic, partition, offset] = reasons

        while True:
            try:
                self._producer.produce(topic, value, key, on_delivery=note)
                break
            except BufferError:
                self._producer.poll(0.1)
        self._producer.poll(0)
