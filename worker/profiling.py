"""Readers who object to profiling: nothing is inferred of them.

Their clicks make a history as everybody's do, and their pages follow from what they read.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from schemas.preferences import unpack_preferences


def objections(preferences: Sequence[bytes | None]) -> NDArray[np.bool_] | None:
    """Return which readers object, (B,); None if nobody does.

    preferences: as they are stored.

    >>> objections([None, b'{"user_id":"42","timestamp":7,"profiling":false}']).tolist()
    [False, True]
    >>> objections([None, b'{"user_id":"42","timestamp":7}']) is None
    True
    """
    if not any(preferences):
        return None
    found = np.array([packed is not None and _objects(packed) for packed in preferences])
    return found if found.any() else None


@lru_cache(4096)
def _objects(packed: bytes) -> bool:
    found = unpack_preferences(packed)
    return found is not None and not found.profiling
