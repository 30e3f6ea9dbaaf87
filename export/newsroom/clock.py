"""Times of a newsroom: RFC 3339 to and from milliseconds, and the rhythm of a day."""

from datetime import datetime

import numpy as np

from export.newsroom.chance import Chance, Floats, Ints, pick_each
from schemas.timestamps import from_ms, to_ms

DAY_MS = 86_400_000
_HOUR_MS = 3_600_000

# Weight of each hour of the day (UTC): desks write from morning on; readers have a morning, a
# lunch and an evening peak.
DESK_HOURS: Floats = np.array(
    [1, 1, 1, 1, 2, 4, 7, 9, 10, 10, 9, 9, 8, 8, 9, 9, 9, 8, 7, 6, 5, 4, 3, 2], dtype=np.float64
)
READING_HOURS: Floats = np.array(
    [2, 1, 1, 1, 1, 3, 8, 11, 9, 6, 5, 6, 9, 8, 5, 5, 6, 8, 9, 10, 11, 10, 7, 4], dtype=np.float64
)


def parse_ms(timestamp: str) -> int:
    """Turn an RFC 3339 time into epoch milliseconds.

    Raises:
        ValueError: where it is not a time, or one without an offset.

    >>> parse_ms("1970-01-02T00:00:00.001Z")
    86400001
    """
    moment = datetime.fromisoformat(timestamp)
    if moment.tzinfo is None:
        raise ValueError(f"{timestamp!r} has no offset from UTC; write for example {timestamp}Z")
    return to_ms(moment)


def to_rfc3339(ms: int) -> str:
    """Turn epoch milliseconds into RFC 3339 with milliseconds and Z.

    >>> to_rfc3339(86400001)
    '1970-01-02T00:00:00.001Z'
    """
    return from_ms(ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moments(chance: Chance, hours: Floats, num_days: int, size: int) -> Ints:
    """Draw moments within `num_days`, by the weight of the `hours` (24,): (size,) int64 ms."""
    day = chance.integers(num_days, size)
    hour = pick_each(np.broadcast_to(hours, (size, 24)), chance.uniform(size))
    return day * DAY_MS + hour * _HOUR_MS + chance.integers(_HOUR_MS, size)
