"""All that Redis holds of one reader: what `frontpage export-reader` prints."""

from datetime import datetime
from typing import Any

import msgspec

from schemas import keys
from schemas.history import (
    ENTRY_BYTES,
    REF_BYTES,
    TIME_BYTES,
    article_ref,
    is_history,
    read_entries,
    unpack,
)
from schemas.timestamps import from_ms
from worker.erasure_marks import time_of_mark
from worker.erasure_store import SETS_PER_CALL
from worker.redis_client import Client, get_many

_CHECKSUM = slice(TIME_BYTES, ENTRY_BYTES - REF_BYTES)


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """An article that a reader clicked, or was shown, at some time."""

    timestamp: datetime
    article_id: str | None
    """None of an article that no worker knows, or knows any more."""
    article_ref: str
    """What is stored in its place: 48 bits of a hash of its id."""
    checksum: str
    """Of the id of the event, or of the impression."""


class KeptOfReader(msgspec.Struct, frozen=True, kw_only=True):
    """What is held of a reader; None, or empty, where nothing is."""

    user_id: str
    erased_at: datetime | None
    """What was before it is not held, and not used."""
    clicks: list[Seen]
    showings: list[Seen]
    preferences: msgspec.Raw | None
    profile: msgspec.Raw | None
    recommendation: msgspec.Raw | None
    waits_for: list[str]
    """References of articles that were clicked before they were known."""
    unreadable: str | None
    """A history that was set aside as it was of an unknown format, in hexadecimal."""


async def kept_of(client: Client, user_id: str) -> list[str]:
    """Name what is held of a reader: keys, and the sets that the reader is in."""
    names = keys.of_reader(user_id)
    values = await get_many(client, names)
    found = [name for name, value in zip(names, values, strict=True) if value is not None]
    return found + await _waits_for(client, user_id)


async def export_reader(client: Client, user_id: str) -> KeptOfReader:
    """Read all that is held of a reader; nothing is changed."""
    secret, *held = await get_many(client, [keys.ERASURE_SECRET, *keys.of_reader(user_id)])
    history, showings, preferences, profile, page, unreadable = held
    mark = None
    if secret:
        (mark,) = await get_many(client, [keys.erased(user_id, secret)])
    articles = await _articles(client) if history or showings else {}
    return KeptOfReader(
        user_id=user_id,
        erased_at=from_ms(time_of_mark(mark)) if mark else None,
        clicks=_seen(history, articles),
        showings=_seen(showings, articles),
        preferences=_raw(preferences),
        profile=_raw(profile),
        recommendation=_raw(page),
        waits_for=[name.split("{")[1].split("}")[0] for name in await _waits_for(client, user_id)],
        unreadable=None if unreadable is None else unreadable.hex(),
    )


async def _articles(client: Client) -> dict[int, str]:
    """Return the ids of the articles that workers know, by reference."""
    index: Any = await client.zrange(keys.CATALOGUE_INDEX, 0, -1)
    ids = [member.decode() for member in index]
    return {int.from_bytes(article_ref(each), "big"): each for each in ids}


async def _waits_for(client: Client, user_id: str) -> list[str]:
    names = [name async for name in client.scan_iter(match=keys.WAITING, count=SETS_PER_CALL)]
    found = []
    for start in range(0, len(names), SETS_PER_CALL):
        part = names[start : start + SETS_PER_CALL]
        pipeline = client.pipeline(transaction=False)
        for name in part:
            pipeline.sismember(name, user_id)
        replies = await pipeline.execute()
        found += [name.decode() for name, is_in in zip(part, replies, strict=True) if is_in]
    return sorted(found)


def _seen(packed: bytes | None, articles: dict[int, str]) -> list[Seen]:
    if not is_history(packed):
        return []
    body = unpack(packed)
    times_ms, refs = read_entries(body)
    return [
        Seen(
            timestamp=from_ms(time_ms),
            article_id=articles.get(ref),
            article_ref=f"{ref:012x}",
            checksum=body[at * ENTRY_BYTES :][_CHECKSUM].hex(),
        )
        for at, (time_ms, ref) in enumerate(zip(times_ms.tolist(), refs.tolist(), strict=True))
    ]


def _raw(value: bytes | None) -> msgspec.Raw | None:
    return None if value is None else msgspec.Raw(value)
