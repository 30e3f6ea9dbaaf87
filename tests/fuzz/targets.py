"""What must hold of any bytes on any topic: a record, or a reason out of a small set of words.

An input's first byte says which decoder it is for, its second what the message's key and time are
like, the rest is the value. So one corpus serves all, and what is found for one is tried on others.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from schemas.decode import (
    Withdrawal,
    decode_article,
    decode_click,
    decode_erasure,
    decode_impression,
    decode_no_erasure,
    decode_no_preferences,
    decode_preferences,
    decode_reader_label,
    decode_visit,
    decode_withdrawal,
)
from schemas.errors import InvalidMessageError
from schemas.preferences import newest, pack_preferences, time_of, unpack_preferences
from schemas.records import MAX_ID_BYTES, DeadLetter, Preferences
from worker.intake import sort_records

NOW_MS = 1_800_000_000_000
REASONS = frozenset({"empty", "oversized", "malformed", "invalid", "timestamp", "future"})
"""The table of `schemas.decode`."""

MOST_S = 1.0
"""For a message of 1 MB at most; a hundred times what the slowest takes."""

Found = Any


class Target(NamedTuple):
    """A decoder; by_key: of messages without a value, whose key the bytes are then."""

    name: str
    decode: Callable[[bytes | None, int], Found]
    by_key: bool = False


TARGETS = (
    Target("clicks", decode_click),
    Target("articles", decode_article),
    Target("visits", decode_visit),
    Target("impressions", decode_impression),
    Target("preferences", decode_preferences),
    Target("erasures", decode_erasure),
    Target("reader-labels", lambda raw, _: decode_reader_label(_key_of(raw), raw)),
    Target("withdrawals", lambda raw, _: decode_withdrawal(raw), by_key=True),
    Target("no-preferences", decode_no_preferences, by_key=True),
    Target("no-erasures", decode_no_erasure, by_key=True),
)

TIMES_MS = (-1, 0, 1, NOW_MS - 1, NOW_MS, NOW_MS + 1, 2**63 - 1)
"""Of a message: none, as brokers write it, and the ends of what is possible."""


class Record(NamedTuple):
    """A message as a consumer hands it out."""

    topic: str
    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: tuple[tuple[str, bytes | None], ...] = ()
    partition: int = 0
    offset: int = 7


def check(data: bytes) -> None:
    """Decode and sort what a fuzzer gives; fail where a promise is broken.

    Raises:
        AssertionError: and whatever else a decoder raises that it must not.
    """
    if len(data) < 2:
        return
    target, raw = TARGETS[data[0] % len(TARGETS)], data[2:]
    begun = time.perf_counter()
    found = outcome(target.decode, raw)
    _check_sorted(target, Record(target.name, raw, raw, TIMES_MS[data[1] % len(TIMES_MS)]), found)
    headers = [(name, raw) for name in ("reason", "topic", "partition", "offset", "size")]
    with suppress(msgspec.ValidationError):
        DeadLetter.from_headers(headers)
    assert time.perf_counter() - begun < MOST_S, f"{target.name}: {len(raw)} bytes took too long"
    if isinstance(found, msgspec.Struct):
        _check_encoded_again(target, found)


def outcome(decode: Callable[[bytes | None, int], Found], raw: bytes) -> Found | str:
    """Return the record, None of a message that means nothing, or the reason it is refused for."""
    try:
        return decode(raw, NOW_MS)
    except InvalidMessageError as error:
        assert error.reason in REASONS, error.reason
        # One line, and no text of a person's.
        assert str(error).isascii() and "\n" not in str(error) and len(str(error)) < 200
        return error.reason


def _check_encoded_again(target: Target, found: msgspec.Struct) -> None:
    """A record that is sent again is the same record, and its ids can be kept."""
    # A label counts by its key, which is not in the record as such.
    if not target.by_key:
        again = outcome(target.decode, msgspec.json.encode(found))
        assert again == found, f"{target.name}: not the same when it is sent again"
    for name in ("user_id", "article_id", "event_id", "impression_id"):
        identifier = getattr(found, name, None)
        assert identifier is None or 0 < len(identifier.encode()) <= MAX_ID_BYTES
    if isinstance(found, Preferences):
        packed = pack_preferences(found)
        held = unpack_preferences(packed)
        assert held is not None and pack_preferences(held) == packed == newest(packed, None)
        assert newest(packed, b"rubbish") == packed and time_of(packed) >= 0


def _check_sorted(target: Target, record: Record, found: Found | str) -> None:
    """No message stops the sorting; each is used, skipped, or buried with its reason."""
    if target.name == "reader-labels":
        return  # no worker reads it
    if target.by_key:
        record = record._replace(value=None)
        empty = lambda key, _: target.decode(key, NOW_MS)  # noqa: E731
        intake = sort_records([record], decode_click, NOW_MS, empty)
    else:
        intake = sort_records([record], target.decode, NOW_MS)
    reasons = [each.letter.reason for each in intake.bad]
    assert reasons == ([found] if isinstance(found, str) else []), (target.name, reasons)
    for letter in (each.letter for each in intake.bad):
        assert DeadLetter.from_headers(letter.headers()) == letter
    used = [
        *intake.articles,
        *intake.withdrawn,
        *intake.clicks,
        *intake.visits,
        *intake.impressions,
        *intake.preferences,
        *intake.erasures,
    ]
    assert len(used) + intake.num_skipped + len(reasons) == 1
    if isinstance(found, Withdrawal):
        assert used == [found.article_id]


def _key_of(raw: bytes | None) -> bytes | None:
    """Return the key that a label would come with: its user_id."""
    try:
        told = msgspec.json.decode(raw or b"null")
        return str(told["user_id"]).encode()
    except Exception:
        return raw
