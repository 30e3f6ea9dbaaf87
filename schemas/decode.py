"""Bytes from Kafka to records, or a reason why not.

Both input topics take the same messages, so that one topic may carry articles and clicks (as
Metarank's does). The reasons, used in dead letters and metrics:

| reason | meaning |
|---|---|
| `empty` | no value, where that withdraws nothing |
| `oversized` | longer than 1,000,000 bytes |
| `malformed` | not JSON in UTF-8 |
| `invalid` | JSON, but not an article, click or Metarank event |
| `timestamp` | before 1970 or after the year 9999 |
| `future` | dated more than a day ahead |
"""

from typing import NamedTuple, TypeVar

import msgspec

from schemas.errors import InvalidMessageError
from schemas.metarank import decode_metarank
from schemas.records import (
    MAX_ID_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_TAG_CHARACTERS,
    Article,
    Click,
    Erasure,
    Impression,
    Preferences,
    ReaderLabel,
    Visit,
)
from schemas.timestamps import MAX_RFC3339_MS, to_ms

MAX_AHEAD_MS = 24 * 3600 * 1000
"""How far ahead of the worker's clock a click or publication may be dated."""

MAX_TAGS = 64
"""Tags beyond these, and longer than `MAX_TAG_CHARACTERS`, are cut: an article's tags stand in
every recommendation of it."""

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises of bytes it cannot make a record of."""

Record = TypeVar("Record", bound=msgspec.Struct)


class Withdrawal(NamedTuple):
    """An article is recommended no more, from now on and until it is published again."""

    article_id: str


_click_decoder = msgspec.json.Decoder(Click)
_article_decoder = msgspec.json.Decoder(Article)
_erasure_decoder = msgspec.json.Decoder(Erasure)
_visit_decoder = msgspec.json.Decoder(Visit)
_impression_decoder = msgspec.json.Decoder(Impression)
_preferences_decoder = msgspec.json.Decoder(Preferences)
_label_decoder = msgspec.json.Decoder(ReaderLabel)


def decode_click(raw: bytes | None, now_ms: int) -> Click | Article | None:
    """Decode a message of the clicks topic; None of an event that is neither click nor article.

    Raises:
        InvalidMessageError: with a reason of the table above.
    """
    raw = check_size(raw)
    try:
        click = _click_decoder.decode(raw)
    except _UNREADABLE as error:
        return _decode_other(raw, now_ms, error)
    return checked_click(click, now_ms)


def decode_article(raw: bytes | None, now_ms: int) -> Click | Article | None:
    """Decode a message of the articles topic; None of an event that is neither click nor article.

    Raises:
        InvalidMessageError: with a reason of the table above.
    """
    raw = check_size(raw)
    try:
        article = _article_decoder.decode(raw)
    except _UNREADABLE as error:
        return _decode_other(raw, now_ms, error)
    # A click has an article_id, too, and passes as an article of which nothing is told.
    if b'"user_id"' in raw and not (article.title or article.body or article.tags):
        try:
            return checked_click(_click_decoder.decode(raw), now_ms)
        except _UNREADABLE:
            pass
    return checked_article(article)


def decode_withdrawal(key: bytes | None) -> Withdrawal:
    """Decode a message of the articles topic that has a key and no value.

    Raises:
        InvalidMessageError: with a reason of the table above.
    """
    return Withdrawal(_id_of(key))


def decode_erasure(raw: bytes | None, now_ms: int) -> Erasure:
    """Decode a message of the erasures topic.

    Raises:
        InvalidMessageError: with a reason of the table above.
    """
    erasure = _decoded(_erasure_decoder, raw)
    check_timestamp(to_ms(erasure.requested_at), now_ms)
    check_id(erasure.user_id)
    return erasure


def decode_no_erasure(key: bytes | None, _: int) -> None:
    """Decode a message of the erasures topic that has a key and no value: it means nothing here.

    It lets compaction remove the request, with the reader's name, once nothing needs it any more.

    Raises:
        InvalidMessageError: with a reason of the table above.
    """
    _id_of(key)


def decode_visit(raw: bytes | None, now_ms: int) -> Visit:
    """Decode a message of the visits topic.

    Raises:
        InvalidMessageError: with a reason of the table above.
    """
    visit = _decoded(_visit_decoder, raw)
    check_timestamp(to_ms(visit.timestamp), now_ms)
    check_id(visit.user_id)
    return visit


def decode_impression(raw: bytes | None, now_ms: int) -> Impression:
    """Decode a message of the impressions topic.

    Raises:
        InvalidMessageError: with a reason of the table above.
    """
    impression = _decoded(_impression_decoder, raw)
    check_timestamp(to_ms(impression.timestamp), now_ms)
    for identifier in (impression.user_id, *impression.candidates):
        check_id(identifier)
    if impression.impression_id is not None:
        check_id(impression.impression_id)
    return impression


def decode_preferences(raw: bytes | None, now_ms: int) -> Preferences:
    """Decode a message of the preferences topic.

    Raises:
        InvalidMessageError: with a reason of the table above.
    """
    preferences = _decoded(_preferences_decoder, raw)
    check_timestamp(to_ms(preferences.timestamp), now_ms)
    for identifier in (preferences.user_id, *preferences.blocked_articles):
        check_id(identifier)
    return preferences


def decode_no_preferences(key: bytes | None, timestamp_ms: int) -> Preferences:
    """Decode a message of the preferences topic that has a key and no value.

    Raises:
        InvalidMessageError: with a reason of the table above.
    """
    check_timestamp(timestamp_ms, timestamp_ms)
    return Preferences(user_id=_id_of(key), timestamp=timestamp_ms)


def decode_reader_label(key: bytes | None, raw: bytes | None) -> ReaderLabel:
    """Decode a message of the reader-labels topic; of a withdrawn one, a record without labels.

    Raises:
        InvalidMessageError: with a reason of the table above.
    """
    user_id = _text_of(key)
    if not raw:
        if not user_id:
            raise InvalidMessageError("empty")
        return ReaderLabel(user_id=user_id)
    label = _decoded(_label_decoder, raw)
    if label.user_id != user_id:
        raise InvalidMessageError("invalid", "the key is not the user_id")
    check_id(user_id)
    return label


def _text_of(key: bytes | None) -> str:
    try:
        return key.decode() if key else ""
    except UnicodeDecodeError as error:
        raise InvalidMessageError("malformed", "the key is not UTF-8") from error


def _id_of(key: bytes | None) -> str:
    """Return the id that a message without a value is about."""
    identifier = _text_of(key)
    if not identifier:
        raise InvalidMessageError("empty")
    check_id(identifier)
    return identifier


def _decoded(decoder: msgspec.json.Decoder[Record], raw: bytes | None) -> Record:
    raw = check_size(raw)
    try:
        return decoder.decode(raw)
    except _UNREADABLE as error:
        raise _invalid(raw, error) from error


def check_size(raw: bytes | None) -> bytes:
    """Return the value, if there is one and it is not oversized."""
    if not raw:
        raise InvalidMessageError("empty")
    if len(raw) > MAX_MESSAGE_BYTES:
        raise InvalidMessageError("oversized", f"{len(raw)} bytes")
    return raw


def checked_click(click: Click, now_ms: int) -> Click:
    """Return the click, if its ids and its time can be kept."""
    check_timestamp(to_ms(click.timestamp), now_ms)
    check_id(click.user_id)
    check_id(click.article_id)
    if click.event_id is not None:
        check_id(click.event_id)
    return click


def checked_article(article: Article) -> Article:
    """Return the article, if its id and its time can be kept.

    A publication may lie ahead: the article is held back from front pages until then.
    """
    check_id(article.article_id)
    if article.published_at is not None:
        check_timestamp(to_ms(article.published_at), MAX_RFC3339_MS)
    tags = article.tags or []
    if len(tags) <= MAX_TAGS and all(len(tag) <= MAX_TAG_CHARACTERS for tag in tags):
        return article
    cut = [tag[:MAX_TAG_CHARACTERS] for tag in tags[:MAX_TAGS]]
    return msgspec.structs.replace(article, tags=cut)


def check_timestamp(timestamp_ms: int, now_ms: int) -> None:
    """Refuse a time that cannot be packed or lies more than a day ahead."""
    if not 0 <= timestamp_ms <= MAX_RFC3339_MS:
        raise InvalidMessageError("timestamp", "before 1970 or after 9999")
    if timestamp_ms > now_ms + MAX_AHEAD_MS:
        raise InvalidMessageError("future", "more than a day ahead")


def check_id(identifier: str) -> None:
    """Refuse an id that is too long in bytes or is not valid Unicode (a lone surrogate)."""
    if len(identifier) * 4 <= MAX_ID_BYTES and identifier.isascii():
        return
    try:
        size = len(identifier.encode())
    except UnicodeEncodeError as error:
        raise InvalidMessageError("invalid", "an id is not valid Unicode") from error
    if size > MAX_ID_BYTES:
        raise InvalidMessageError("invalid", f"an id is longer than {MAX_ID_BYTES} bytes")


def _decode_other(raw: bytes, now_ms: int, first_error: Exception) -> Click | Article | None:
    # Only what says it is an event is tried as Metarank's: the error a producer reads should be
    # about the message they meant to send.
    if b'"event"' not in raw:
        # Articles on a shared topic; what lacks user_id cannot be a click.
        if b'"article_id"' in raw and b'"user_id"' not in raw:
            try:
                return checked_article(_article_decoder.decode(raw))
            except _UNREADABLE:
                pass
        raise _invalid(raw, first_error) from first_error
    try:
        record = decode_metarank(raw)
    except _UNREADABLE as error:
        raise _invalid(raw, error) from error
    if isinstance(record, Click):
        return checked_click(record, now_ms)
    if isinstance(record, Article):
        return checked_article(record)
    return None


def _invalid(raw: bytes, error: Exception) -> InvalidMessageError:
    if isinstance(error, msgspec.ValidationError):
        what, at, path = str(error).rpartition(" - at `$")
        # Of a value that is none of the possible ones msgspec says which it is.
        if what.startswith("Invalid"):
            what = "not one of the possible values"
        return InvalidMessageError("invalid", f"{what}{at}{path}")
    try:
        raw.decode()
    except UnicodeDecodeError:
        return InvalidMessageError("malformed", "not UTF-8")
    return InvalidMessageError("malformed", "not JSON")
