"""What a reader did before they were erased, and is not to be used: pure functions.

Whatever a reader does counts from its own time, or from when Kafka got the message if that is
earlier: a click that was dated ahead, as by a browser whose clock is fast, was made before an
erasure all the same. In a history only the click's own time is kept.
"""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from schemas.history import ENTRY_BYTES, TIME_BYTES, seal, unpack
from schemas.preferences import time_of, unpack_preferences
from worker.erasure_marks import time_of_mark
from worker.intake import PackedImpression

CLOCKS_DIFFER_MS = 60_000
"""By how much a click that was stored before an erasure may be dated later than that."""

Sent = Mapping[str, Mapping[int, int]]
"""By reader and time of what they did: when Kafka got the message, where that is earlier."""

Done = TypeVar("Done")


def counts_from(time_ms: int, user_id: str, sent: Sent) -> int:
    """Return from when on something that a reader did counts.

    >>> counts_from(9, "u", {"u": {9: 5}}), counts_from(9, "v", {"u": {9: 5}})
    (5, 9)
    """
    own = sent.get(user_id)
    return time_ms if own is None else min(time_ms, own.get(time_ms, time_ms))


def newer_clicks(
    clicks: dict[str, list[bytes]], marks: Sequence[bytes | None], sent: Sent
) -> tuple[dict[str, list[bytes]], set[str]]:
    """Return the clicks, by reader, without those of before an erasure; and whose had any.

    marks: one per reader, in the same order.
    """
    if not any(marks):
        return clicks, set()
    kept: dict[str, list[bytes]] = {}
    bygone: set[str] = set()
    for (user_id, entries), mark in zip(clicks.items(), marks, strict=True):
        erased_ms = time_of_mark(mark)
        later = [each for each in entries if counts_from(_time(each), user_id, sent) > erased_ms]
        if len(later) < len(entries):
            bygone.add(user_id)
        kept[user_id] = later
    return kept, bygone


def newer_impressions(
    impressions: dict[str, Mapping[bytes, PackedImpression]],
    marks: Sequence[bytes | None],
    sent: Sent,
) -> dict[str, Mapping[bytes, PackedImpression]]:
    """Return the impressions, by reader, without those of before an erasure.

    marks: one per reader, in the same order.
    """
    if not any(marks):
        return impressions
    return {
        user_id: {
            start: each
            for start, each in shown.items()
            if counts_from(each.time_ms, user_id, sent) > time_of_mark(mark)
        }
        for (user_id, shown), mark in zip(impressions.items(), marks, strict=True)
    }


def later_entries(packed: bytes | None, erased_ms: int, now_ms: int) -> bytes:
    """Return a history, or showings, without what is of before an erasure; `b""` if none is left.

    What is dated just after the erasure, or ahead of now, was made before it by a clock that is
    fast: it is held already.

    >>> later_entries(b"of an unknown format", 5, 9)
    b''
    """
    try:
        body = unpack(packed)
    except ValueError:
        return b""
    entries = (body[at : at + ENTRY_BYTES] for at in range(0, len(body), ENTRY_BYTES))
    kept = b"".join(
        entry for entry in entries if erased_ms + CLOCKS_DIFFER_MS < _time(entry) <= now_ms
    )
    return seal(kept) if kept else b""


def later_preferences(packed: bytes | None, erased_ms: int, now_ms: int) -> bytes:
    """Return preferences, or `b""` where they are of before an erasure; see `later_entries`."""
    is_later = erased_ms + CLOCKS_DIFFER_MS < time_of(packed) <= now_ms
    return packed if packed and is_later else b""


def lifts_nothing(wish: bytes | None, history: bytes | None, held: bytes | None) -> bool:
    """Tell whether a wish lifts preferences of an erased reader that are gone already.

    The message without a value that ends what the compacted topic holds of them says so.
    """
    found = unpack_preferences(wish)
    if found is None or held or history:
        return False
    return found.profiling and not (found.blocked_tags or found.blocked_articles)


def _time(entry: bytes) -> int:
    return int.from_bytes(entry[:TIME_BYTES], "big")
