"""Sort a fetched chunk: articles, clicks by reader, and what is bad."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from schemas.decode import (
    Withdrawal,
    decode_article,
    decode_click,
    decode_erasure,
    decode_impression,
    decode_no_erasure,
    decode_no_preferences,
    decode_preferences,
    decode_visit,
    decode_withdrawal,
)
from schemas.errors import InvalidMessageError
from schemas.history import article_ref, pack_entry
from schemas.preferences import newest, pack_preferences
from schemas.records import (
    MAX_MESSAGE_BYTES,
    PLACE,
    REPUBLISHED_FROM,
    Article,
    Click,
    DeadLetter,
    Erasure,
    Impression,
    Preferences,
    Visit,
)
from schemas.showings import IMPRESSION_BYTES, pack_showings
from schemas.timestamps import to_ms
from schemas.topics import Topics
from worker.tracing import Causes, note_cause

ContentDecoder = Callable[[bytes | None, int], Click | Article | None]
Message = Click | Article | Visit | Impression | Preferences | Withdrawal | Erasure
Decoder = Callable[[bytes | None, int], Message | None]
EmptyDecoder = Callable[[bytes | None, int], Withdrawal | Preferences | None]
"""Of a message without a value: from its key and its time."""


class BadMessage(NamedTuple):
    """A message for the dead letters."""

    key: bytes | None
    value: bytes | None
    letter: DeadLetter


class PackedImpression(NamedTuple):
    """What a reader was shown at one moment, an entry an article, and which of it was clicked."""

    time_ms: int
    showings: list[bytes]
    clicked: list[bool]


class Intake(NamedTuple):
    """What a chunk holds."""

    articles: dict[str, Article]
    """The latest message of each article."""
    withdrawn: dict[str, None]
    """The articles whose latest message has no value, in order."""
    clicks: dict[str, list[bytes]]
    """Packed history entries by reader."""
    visits: dict[str, int]
    """The latest visit of each reader, epoch milliseconds."""
    impressions: dict[str, dict[bytes, PackedImpression]]
    """What each reader was shown, each impression once, by how its showings begin."""
    preferences: dict[str, bytes]
    """The newest preferences of each reader, as they are stored."""
    erasures: dict[str, int]
    """Up to when each reader is to be erased, epoch milliseconds."""
    sent_ms: dict[str, dict[int, int]]
    """By reader and time of what they did: when Kafka got the message, where that is earlier."""
    newest_ms: int
    """The latest click, visit or impression, 0 without any."""
    bad: list[BadMessage]
    num_skipped: int
    """Messages that are neither used nor bad: without consent, or of another kind."""
    causes: Causes
    """The trace contexts of clicks, visits and preferences."""


def sort_records(
    records: Iterable[Any],
    decode: Decoder,
    now_ms: int,
    decode_empty: EmptyDecoder | None = None,
    *,
    is_traced: bool = False,
) -> Intake:
    """Decode Kafka records (with topic, partition, offset, key and value), none of them raising.

    decode_empty: for records without a value, if they mean anything; it reads key and timestamp.
    is_traced: whether records have headers, and these are read for trace contexts.
    """
    articles: dict[str, Article] = {}
    withdrawn: dict[str, None] = {}
    clicks: dict[str, list[bytes]] = {}
    bad: list[BadMessage] = []
    refs: dict[str, bytes] = {}
    newest_ms = 0
    visits: dict[str, int] = {}
    impressions: dict[str, dict[bytes, PackedImpression]] = {}
    preferences: dict[str, bytes] = {}
    erasures: dict[str, int] = {}
    sent_ms: dict[str, dict[int, int]] = {}
    num_skipped = 0
    causes: Causes = {}
    for record in records:
        try:
            message: Message | None
            if record.value is None and decode_empty is not None:
                message = decode_empty(record.key, min(record.timestamp, now_ms))
            else:
                message = decode(record.value, now_ms)
        except InvalidMessageError as error:
            bad.append(_bad(record, error.reason))
            continue
        except Exception:  # a record no decoder foresaw must not stop the stream
            bad.append(_bad(record, "invalid"))
            continue
        if isinstance(message, Click) and message.consent:
            timestamp_ms = to_ms(message.timestamp)
            ref = refs.get(message.article_id)
            if ref is None:
                ref = refs[message.article_id] = article_ref(message.article_id)
            entry = pack_entry(timestamp_ms, message.event_id, ref)
            clicks.setdefault(message.user_id, []).append(entry)
            if record.timestamp < timestamp_ms:  # a call for each click is too much
                _note_sent(sent_ms, message.user_id, timestamp_ms, record.timestamp)
            newest_ms = max(newest_ms, timestamp_ms)
            if is_traced and record.headers:
                note_cause(causes, message.user_id, timestamp_ms, record.headers)
        elif isinstance(message, Article):
            articles[message.article_id] = message
            withdrawn.pop(message.article_id, None)
        elif isinstance(message, Withdrawal):
            articles.pop(message.article_id, None)
            withdrawn[message.article_id] = None
        elif isinstance(message, Visit):
            timestamp_ms = to_ms(message.timestamp)
            visits[message.user_id] = max(visits.get(message.user_id, 0), timestamp_ms)
            _note_sent(sent_ms, message.user_id, timestamp_ms, record.timestamp)
            newest_ms = max(newest_ms, timestamp_ms)
            if is_traced and record.headers:
                note_cause(causes, message.user_id, timestamp_ms, record.headers)
        elif isinstance(message, Impression) and message.consent and message.candidates:
            packed = _packed(message)
            own = impressions.setdefault(message.user_id, {})
            own.setdefault(packed.showings[0][:IMPRESSION_BYTES], packed)
            _note_sent(sent_ms, message.user_id, packed.time_ms, record.timestamp)
            newest_ms = max(newest_ms, packed.time_ms)
        elif isinstance(message, Preferences):
            wish = newest(preferences.get(message.user_id), pack_preferences(message))
            preferences[message.user_id] = wish or b""
            timestamp_ms = to_ms(message.timestamp)
            _note_sent(sent_ms, message.user_id, timestamp_ms, record.timestamp)
            if is_traced and record.headers:
                note_cause(causes, message.user_id, timestamp_ms, record.headers)
        elif isinstance(message, Erasure):
            asked_ms = to_ms(message.requested_at)
            if 0 <= record.timestamp < asked_ms:  # by a clock that is fast
                asked_ms = record.timestamp
            erasures[message.user_id] = max(erasures.get(message.user_id, 0), asked_ms)
        else:
            num_skipped += 1
    return Intake(
        articles,
        withdrawn,
        clicks,
        visits,
        impressions,
        preferences,
        erasures,
        sent_ms,
        newest_ms,
        bad,
        num_skipped,
        causes,
    )


def decoder_of(topic: str, topics: Topics) -> Decoder:
    """Return the decoder that tries first what the topic is for."""
    if topic == topics.visits:
        return decode_visit
    if topic == topics.impressions:
        return decode_impression
    if topic == topics.erasures:
        return decode_erasure
    return decode_preferences if topic == topics.preferences else content_decoder_of(topic, topics)


def empty_decoder_of(topic: str, topics: Topics) -> EmptyDecoder | None:
    """Return the decoder of a topic's messages without a value; None where they are bad."""
    if withdraws(topic, topics):
        return lambda key, _: decode_withdrawal(key)
    if topic == topics.preferences:
        return decode_no_preferences
    if topic == topics.erasures:
        return decode_no_erasure
    return None


def withdraws(topic: str, topics: Topics) -> bool:
    """Tell whether a message without a value withdraws the article that its key names."""
    # On a topic that articles share with clicks the key may be a reader's.
    return topic == topics.articles and topic != topics.clicks


def content_decoder_of(topic: str, topics: Topics) -> ContentDecoder:
    """Return the decoder of a topic of articles, clicks or both."""
    return decode_article if topic == topics.articles else decode_click


def _note_sent(
    sent_ms: dict[str, dict[int, int]], user_id: str, time_ms: int, message_ms: int
) -> None:
    """Note when Kafka got what a reader did, if that was dated ahead; a time of -1 is none."""
    if 0 <= message_ms < time_ms:
        own = sent_ms.setdefault(user_id, {})
        own[time_ms] = min(own.get(time_ms, message_ms), message_ms)


def _packed(impression: Impression) -> PackedImpression:
    shown = list(dict.fromkeys(impression.candidates))
    clicked = set(impression.clicked)
    time_ms = to_ms(impression.timestamp)
    showings = pack_showings(time_ms, impression.impression_id, shown)
    return PackedImpression(time_ms, showings, [each in clicked for each in shown])


def _bad(record: Any, reason: str) -> BadMessage:
    size = len(record.value or b"")
    letter = DeadLetter(
        reason=reason,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        size=size,
        truncated=size + len(record.key or b"") > MAX_MESSAGE_BYTES,
        republished_from=_republished_from(record),
    )
    return BadMessage(record.key, record.value, letter)


def _republished_from(record: Any) -> str | None:
    """Return which dead letter the message was, if it says so, and says nothing else."""
    for name, value in getattr(record, "headers", None) or ():
        # Anybody may write headers: the letter's own must not carry what a person wrote.
        if name == REPUBLISHED_FROM:
            text = (value or b"").decode(errors="replace")
            return text if PLACE.fullmatch(text) else None
    return None
