"""What a reader does not want, as it is stored: JSON, the newest message.

One that objects to nothing is kept, too: an older message that comes again must not win.
"""

import msgspec

from schemas.records import Preferences
from schemas.timestamps import to_ms

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Preferences)


def pack_preferences(preferences: Preferences) -> bytes:
    """Return what is stored: the same bytes for the same wishes at the same time.

    >>> pack_preferences(Preferences(user_id="42", timestamp=7, blocked_tags=["b", "a", "b"]))
    b'{"user_id":"42","timestamp":7,"blocked_tags":["a","b"],"blocked_articles":[],"profiling":true}'
    """
    return _encoder.encode(
        Preferences(
            user_id=preferences.user_id,
            timestamp=to_ms(preferences.timestamp),
            blocked_tags=sorted(set(preferences.blocked_tags)),
            blocked_articles=sorted(set(preferences.blocked_articles)),
            profiling=preferences.profiling,
        )
    )


def unpack_preferences(packed: bytes | None) -> Preferences | None:
    """Return what is stored; None of what is not there or not readable."""
    if not packed:
        return None
    try:
        return _decoder.decode(packed)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def newest(one: bytes | None, other: bytes | None) -> bytes | None:
    """Return the later of two stored preferences; of the same time, the same one either way."""
    return max(one, other, key=lambda packed: (time_of(packed), packed or b""))


def time_of(packed: bytes | None) -> int:
    """Return when a reader wished so, epoch milliseconds; -1 of what cannot be read."""
    found = unpack_preferences(packed)
    return -1 if found is None else to_ms(found.timestamp)
