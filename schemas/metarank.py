"""Metarank's `item` and `interaction` events as input, so that its users keep their producers.

An `item` event is an article: the fields `title`, `body` (or `description`, `text`), `tags` (or
`genres`, `categories`, `category`) and `language` are read; the event's timestamp is the time of
publication unless a field `published_at` says otherwise. An `interaction` event is a click of
the `user`, or of the `session` where there is no user; those of the types in `NOT_CLICKS` are
skipped, and so are `user` and `ranking` events, and an `item` event that tells neither text nor
tags, as an update of a price does: it would wipe out the article.
Source: https://docs.metarank.ai, "Event format".
"""

from typing import Any

import msgspec

from schemas.errors import InvalidMessageError
from schemas.records import Article, Click, Id
from schemas.timestamps import Timestamp

_TITLE = ("title", "name")
_BODY = ("body", "description", "text")
_TAGS = ("tags", "genres", "categories", "category")

# Metarank writes epoch milliseconds as a string of digits, which RFC 3339 decoding refuses.
_AnyTimestamp = str | int


NOT_CLICKS = frozenset({"impression", "dislike"})


class _Field(msgspec.Struct, frozen=True):
    name: str
    value: Any = None


class _Item(msgspec.Struct, frozen=True, tag_field="event", tag="item"):
    item: Id
    timestamp: _AnyTimestamp
    fields: list[_Field] = []


class _Interaction(msgspec.Struct, frozen=True, tag_field="event", tag="interaction"):
    id: Id
    item: Id
    timestamp: _AnyTimestamp
    user: str | None = None
    session: str | None = None
    type: str | None = None


class _User(msgspec.Struct, frozen=True, tag_field="event", tag="user"):
    pass


class _Ranking(msgspec.Struct, frozen=True, tag_field="event", tag="ranking"):
    pass


_decoder = msgspec.json.Decoder(_Item | _Interaction | _User | _Ranking)


def decode_metarank(raw: bytes) -> Article | Click | None:
    """Return the article or click that a Metarank event tells of; of other events, None.

    >>> decode_metarank(
    ...     b'{"event":"interaction","id":"e1","timestamp":"1599391467000","user":"u1",'
    ...     b'"session":"s1","type":"click","item":"i1","fields":[]}'
    ... ).article_id
    'i1'

    Raises:
        msgspec.DecodeError: when it is not one of Metarank's events.
        InvalidMessageError: when an interaction has neither user nor session.
    """
    event = _decoder.decode(raw)
    if isinstance(event, _Item):
        return _article(event)
    if isinstance(event, _Interaction):
        return _click(event)
    return None


def _click(event: _Interaction) -> Click | None:
    if event.type in NOT_CLICKS:
        return None
    reader = event.user or event.session
    if not reader:
        raise InvalidMessageError("invalid", "an interaction without user and session")
    return Click(
        user_id=reader,
        article_id=event.item,
        timestamp=_timestamp(event.timestamp),
        event_id=event.id,
        session_id=event.session,
    )


def _article(event: _Item) -> Article | None:
    fields = {field.name: field.value for field in event.fields}
    title, body = _first_text(fields, _TITLE), _first_text(fields, _BODY)
    tags = _first_list(fields, _TAGS)
    if not (title or body or tags):
        return None
    published = fields.get("published_at", event.timestamp)
    return Article(
        article_id=event.item,
        title=title,
        body=body,
        tags=tags,
        published_at=_timestamp(published),
        language=_first_text(fields, ("language",)),
    )


def _timestamp(value: object) -> Timestamp:
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 20:
        return int(value)
    timestamp: Timestamp = msgspec.convert(value, Timestamp)
    return timestamp


def _first_text(fields: dict[str, Any], names: tuple[str, ...]) -> str | None:
    return next((fields[name] for name in names if isinstance(fields.get(name), str)), None)


def _first_list(fields: dict[str, Any], names: tuple[str, ...]) -> list[str] | None:
    for name in names:
        value = fields.get(name)
        if isinstance(value, str):
            return [value]
        if isinstance(value, list):
            return [tag for tag in value if isinstance(tag, str)]
    return None
