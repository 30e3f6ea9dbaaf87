"""The packed click history of a reader: the N newest distinct clicks, and nothing else.

Layout: an 8-byte header, then 16-byte entries, newest first.

| bytes | content |
|---|---|
| header 0 | format version, 1 |
| header 1-7 | BLAKE2b of the entries, so that two histories are compared by their header alone |
| entry 0-5 | timestamp, epoch milliseconds, big-endian |
| entry 6-9 | CRC-32 of the event id |
| entry 10-15 | article reference: BLAKE2b-48 of the article id |

Entries are ordered as byte strings: by timestamp, then by event, then by article. A history is
a set, cut to its N largest elements, so merging is commutative, associative and idempotent:
replays, duplicates and reordering cannot change the result. (At 100,000 articles the chance
that any two share a reference is 2 in 100,000.)
"""

import zlib
from bisect import bisect_left
from functools import partial
from hashlib import blake2b
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

FORMAT_VERSION = 1
HEADER_BYTES = 8
ENTRY_BYTES = 16
TIME_BYTES = 6
REF_BYTES = 6

CLICKS_PER_SEARCH = 8
"""Clicks held that cost as much to sort as one new click to search a place for."""

ENTRY_DTYPE = np.dtype(
    [
        ("time_high", ">u2"),
        ("time_low", ">u4"),
        ("event", ">u4"),
        ("ref_high", ">u2"),
        ("ref_low", ">u4"),
    ]
)


def article_ref(article_id: str) -> bytes:
    """Return the 6-byte reference of an article.

    >>> article_ref("a17").hex()
    'c97997b207b1'
    """
    return blake2b(article_id.encode(), digest_size=REF_BYTES).digest()


def pack_entry(timestamp_ms: int, event_id: str | None, ref: bytes) -> bytes:
    """Pack one click. Without an event id, the article and the time identify it.

    >>> len(pack_entry(1_700_000_000_000, "e1", article_ref("a17")))
    16
    """
    event = zlib.crc32(ref if event_id is None else event_id.encode())
    return timestamp_ms.to_bytes(6, "big") + event.to_bytes(4, "big") + ref


def merge(packed: bytes | None, entries: list[bytes], limit: int) -> bytes:
    """Return the history with the entries added, cut to the `limit` newest.

    >>> old = merge(None, [pack_entry(1, "a", article_ref("x"))], limit=2)
    >>> merge(old, [pack_entry(1, "a", article_ref("x"))], limit=2) == old
    True

    Raises:
        ValueError: when `packed` is not a history of this format.
    """
    held = unpack(packed)
    fresh = entries if len(entries) == 1 else sorted(set(entries), reverse=True)
    # In a live stream nearly every click is newer than all that is held: no need to look further.
    # What is left is the checksum, 0.02 us a click.
    if not held or (fresh and fresh[-1] > held[:ENTRY_BYTES]):
        body = b"".join(fresh) + held
    elif len(fresh) * CLICKS_PER_SEARCH <= len(held) // ENTRY_BYTES:
        body = _insert(held, fresh)
    else:
        known = {held[at : at + ENTRY_BYTES] for at in range(0, len(held), ENTRY_BYTES)}
        body = b"".join(sorted(known.union(fresh), reverse=True))
    return seal(body[: limit * ENTRY_BYTES])


def _insert(held: bytes, fresh: list[bytes]) -> bytes:
    """Put a few entries, newest first, where they belong: a search each, and no sorting."""
    starts = range(0, len(held), ENTRY_BYTES)
    parts: list[bytes] = []
    end = 0
    for entry in fresh:
        is_reached = partial(_is_at_most, held, entry)
        begin = end
        end = bisect_left(starts, True, lo=begin // ENTRY_BYTES, key=is_reached) * ENTRY_BYTES
        parts.append(held[begin:end])
        if not held.startswith(entry, end):
            parts.append(entry)
    parts.append(held[end:])
    return b"".join(parts)


def _is_at_most(held: bytes, entry: bytes, at: int) -> bool:
    return held[at : at + ENTRY_BYTES] <= entry


def seal(body: bytes) -> bytes:
    """Put the header in front of the entries."""
    return bytes((FORMAT_VERSION,)) + blake2b(body, digest_size=HEADER_BYTES - 1).digest() + body


def unpack(packed: bytes | None) -> bytes:
    """Return the entries without the header; of no history, none.

    Raises:
        ValueError: when `packed` is not a history of this format.
    """
    if not packed:
        return b""
    if packed[0] != FORMAT_VERSION or (len(packed) - HEADER_BYTES) % ENTRY_BYTES:
        raise ValueError(f"not a history of format {FORMAT_VERSION}")
    return packed[HEADER_BYTES:]


def before(packed: bytes | None, timestamp_ms: int) -> bytes:
    """Return the entries of before a moment, under a header without a checksum.

    >>> clicks = [pack_entry(time, None, article_ref("x")) for time in (1, 2, 3)]
    >>> num_clicks(before(merge(None, clicks, limit=8), 3))
    2

    Raises:
        ValueError: when `packed` is not a history of this format.
    """
    body = unpack(packed)
    bound = timestamp_ms.to_bytes(6, "big")
    starts = range(0, len(body), ENTRY_BYTES)
    first = bisect_left(starts, True, key=lambda at: body[at : at + 6] < bound)
    return bytes(HEADER_BYTES) + body[first * ENTRY_BYTES :]


def is_history(packed: bytes | None) -> TypeGuard[bytes]:
    """Tell whether there is a history, of this format."""
    try:
        return bool(unpack(packed))
    except ValueError:
        return False


def num_clicks(packed: bytes | None) -> int:
    """Count the clicks held."""
    return max(0, len(packed or b"") - HEADER_BYTES) // ENTRY_BYTES


def read_entries(body: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return timestamps (N,) in epoch milliseconds and article references (N,) as integers."""
    raw = np.frombuffer(body, dtype=ENTRY_DTYPE)
    times = (raw["time_high"].astype(np.int64) << 32) | raw["time_low"].astype(np.int64)
    refs = (raw["ref_high"].astype(np.int64) << 32) | raw["ref_low"].astype(np.int64)
    return times, refs
