"""Timestamps: RFC 3339 with an offset or epoch milliseconds on the wire, the latter inside."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec

# An RFC 3339 time must carry an offset: a naive one would mean another moment on another machine.
Timestamp = Annotated[datetime, msgspec.Meta(tz=True)] | int

MAX_RFC3339_MS = 253_402_300_799_999
"""The last millisecond of the year 9999, the last that RFC 3339 can write."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def to_ms(timestamp: datetime | int) -> int:
    """Return epoch milliseconds, rounded down.

    >>> to_ms(1_700_000_000_000)
    1700000000000
    >>> to_ms(datetime(1970, 1, 1, 0, 0, 1, 999_999, tzinfo=UTC))
    1999
    """
    if isinstance(timestamp, int):
        return timestamp
    return (timestamp - _EPOCH) // _MILLISECOND


def from_ms(timestamp_ms: int) -> datetime:
    """Return the moment as an aware datetime in UTC.

    >>> from_ms(1999).isoformat()
    '1970-01-01T00:00:01.999000+00:00'

    Raises:
        OverflowError: after the year 9999.
    """
    return _EPOCH + timedelta(milliseconds=timestamp_ms)
