"""What of a reader counts, once: the first click on each article, and every impression."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from schemas.history import ENTRY_BYTES, HEADER_BYTES, REF_BYTES, num_clicks

Impression = TypeVar("Impression")


def counted_positions(held: bytes | None, merged: bytes, fresh: Sequence[bytes]) -> list[int]:
    """Return the positions in `merged` of the clicks that count.

    held: the history before, None without any. merged: with the fresh entries, cut to its limit.
    A click counts when it is new to the history, still in it, and on an article that the history
    has no other click on; of several new ones on one article, the oldest.

    >>> from schemas.history import article_ref, merge, pack_entry
    >>> clicks = [pack_entry(time, None, article_ref("a")) for time in (1, 2)]
    >>> counted_positions(None, merge(None, clicks, 8), clicks)
    [1]
    """
    known = held or b""
    if len(fresh) == 1:
        if _find(known, fresh[0][-REF_BYTES:], ENTRY_BYTES - REF_BYTES) >= 0:
            return []
        at = _find(merged, fresh[0], 0)
        return [at] if at >= 0 else []
    positions = []
    counted: set[bytes] = set()
    for entry in sorted(set(fresh)):
        ref = entry[-REF_BYTES:]
        if ref in counted or _find(known, ref, ENTRY_BYTES - REF_BYTES) >= 0:
            continue
        at = _find(merged, entry, 0)
        if at >= 0:
            positions.append(at)
            counted.add(ref)
    return sorted(positions)


def counted_impressions(
    held: bytes | None, limit: int, fresh: Mapping[bytes, Impression]
) -> list[Impression]:
    """Return the impressions that count: new to the showings, and not older than all of a full set.

    held: the showings before, None without any; the newest `limit` are kept. fresh: impressions by
    what their showings begin with. What is cut off when they are added is counted all the same, as
    when many come at once, and cannot count again: it is older than what is held then.
    """
    known = held or b""
    oldest = known[-ENTRY_BYTES:] if num_clicks(known) >= limit else b""
    return [
        impression
        for start, impression in fresh.items()
        if start > oldest[: len(start)] and _find(known, start, 0) < 0
    ]


def _find(packed: bytes, part: bytes, offset: int) -> int:
    """Return which entry has `part` at `offset`, -1 if none."""
    start = HEADER_BYTES + offset
    while (at := packed.find(part, start)) >= 0:
        place, beside = divmod(at - HEADER_BYTES - offset, ENTRY_BYTES)
        if not beside:
            return place
        start = at + 1
    return -1
