"""What a reader did before they were erased, and is not to be used.

Whatever a reader does counts from its own time, or from when Kafka got the message if that is
earlier: a click that was dated ahead, as by a browser whose clock is fast, was made before an
erasure all the same. In a history only the click's own time is kept.
"""

from collections.abc import Mapping, Sequence

from schemas.history import ENTRY_BYTES, TIME_BYTES, seal, unpack
from schemas.preferences import time_of, unpack_preferences
from worker.erasure_marks import time_of_mark
from worker.intake import PackedImpression
from worker.reader_store import Held

CLOCKS_DIFFER_MS = 60_000
"""By how much a click that was stored before an erasure may be dated later than that."""

Sent = Mapping[str, Mapping[int, int]]
"""By reader and time of what they did: when Kafka got the message, where that is earlier."""


class Sieve:
    """Leave out what readers did before they were erased, and note whose that was.

    sent: of messages that are dated ahead. What is passed are the marks of readers, in their order.
    """

    def __init__(self, sent: Sent) -> None:
        self._sent = sent
        self.erased: set[str] = set()
        """Of whom something was left out."""

    def clicks(
        self, clicks: dict[str, list[bytes]], marks: Sequence[bytes | None]
    ) -> dict[str, list[bytes]]:
        """Return the clicks, by reader, that are later than an erasure."""
        if not any(marks):
            return clicks
        kept: dict[str, list[bytes]] = {}
        for (user_id, entries), mark in zip(clicks.items(), marks, strict=True):
            later = [each for each in entries if self._is_later(_time(each), user_id, mark)]
            if len(later) < len(entries):
                self.erased.add(user_id)
            kept[user_id] = later
        return kept

    def impressions(
        self,
        impressions: dict[str, Mapping[bytes, PackedImpression]],
        marks: Sequence[bytes | None],
    ) -> dict[str, Mapping[bytes, PackedImpression]]:
        """Return the impressions, by reader, that are later than an erasure."""
        if not any(marks):
            return impressions
        return {
            user_id: {
                start: each
                for start, each in shown.items()
                if self._is_later(each.time_ms, user_id, mark)
            }
            for (user_id, shown), mark in zip(impressions.items(), marks, strict=True)
        }

    def visitors(
        self,
        user_ids: Sequence[str],
        times_ms: Mapping[str, int],
        wishes: Mapping[str, bytes],
        held: Held,
    ) -> set[str]:
        """Return the readers who are not to be answered, as they came or wished before an erasure.

        held: what is held of them.
        """
        readers = zip(user_ids, held.marks, held.histories, held.preferences, strict=True)
        erased = {
            user_id
            for user_id, mark, history, kept in readers
            if mark
            and (
                not self._is_later(times_ms[user_id], user_id, mark)
                or lifts_nothing(wishes.get(user_id), history, kept)
            )
        }
        self.erased |= erased
        return erased

    def _is_later(self, time_ms: int, user_id: str, mark: bytes | None) -> bool:
        own = self._sent.get(user_id)
        counts_from = time_ms if own is None else min(time_ms, own.get(time_ms, time_ms))
        return counts_from > time_of_mark(mark)


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
