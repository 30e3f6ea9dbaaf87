"""What one reader is not offered: what was shown too often in vain, and what they opted out of.

Costs nothing for readers of whom nothing is kept.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.history import REF_BYTES, article_ref, is_history, num_clicks, read_entries, unpack
from schemas.preferences import unpack_preferences
from worker.catalogue import Catalogue
from worker.recommend.options import Filters

MS_PER_DAY = 86_400_000
REF_BITS = 8 * REF_BYTES
NOTHING: NDArray[np.int64] = np.empty(0, dtype=np.int64)


class Limits(NamedTuple):
    """What is kept of B readers beside their clicks, as it is stored; None where nothing is."""

    showings: Sequence[bytes | None]
    """See `schemas.showings`."""
    preferences: Sequence[bytes | None]
    """See `schemas.preferences`."""

    def of(self, part: slice) -> "Limits":
        """Return those of some of the readers."""
        return Limits(*(each[part] for each in self))


class Barred(NamedTuple):
    """What B readers are not offered.

    Attributes:
        starts: (B + 1,) int64; reader b is not offered `rows[starts[b]:starts[b + 1]]`.
        rows: (R,) int64 catalogue rows.
    """

    starts: NDArray[np.int64]
    rows: NDArray[np.int64]


def barred_rows(limits: Limits, catalogue: Catalogue, filters: Filters, now_ms: int) -> Barred:
    """Return what each reader is not offered.

    now_ms: the moment the news are seen from; what was shown long before it does not count.
    """
    found = [shown_too_often(limits.showings, catalogue, filters, now_ms)]
    if any(limits.preferences):
        found.append(opted_out(limits.preferences, catalogue))
    readers, rows = (np.concatenate(part) for part in zip(*found, strict=True))
    starts = np.zeros(len(limits.showings) + 1, dtype=np.int64)
    np.cumsum(np.bincount(readers, minlength=len(starts) - 1), out=starts[1:])
    return Barred(starts, rows[np.argsort(readers, kind="stable")])


def shown_too_often(
    showings: Sequence[bytes | None], catalogue: Catalogue, filters: Filters, now_ms: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which readers, (R,), are not offered which catalogue rows, (R,).

    Those shown `max_shown` times within `shown_days`. If the reader clicked one of them, that
    keeps it from the reader by itself.
    """
    kept = [reader for reader, packed in enumerate(showings) if packed and is_history(packed)]
    if not kept or not filters.max_shown:
        return NOTHING, NOTHING
    times_ms, refs = read_entries(b"".join(unpack(showings[reader]) for reader in kept))
    reader_of = np.repeat(kept, [num_clicks(showings[reader]) for reader in kept])
    recent = times_ms > now_ms - int(filters.shown_days * MS_PER_DAY)
    # Reader and reference in one number, so that only the few shown often are looked up.
    pairs = (reader_of[recent] << REF_BITS) | refs[recent]
    distinct, num_shown = np.unique(pairs, return_counts=True)
    often = distinct[num_shown >= filters.max_shown]
    rows = catalogue.find(often & ((1 << REF_BITS) - 1))
    return (often >> REF_BITS)[rows >= 0], rows[rows >= 0]


def opted_out(
    preferences: Sequence[bytes | None], catalogue: Catalogue
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which readers, (R,), have opted out of which catalogue rows, (R,)."""
    readers, rows = [NOTHING], [NOTHING]
    for reader, packed in enumerate(preferences):
        if packed is None:
            continue
        tags, refs = _wishes(packed)
        known = catalogue.find(refs)
        for part in (known[known >= 0], *map(catalogue.rows_tagged, tags)):
            readers.append(np.full(len(part), reader))
            rows.append(part)
    return np.concatenate(readers), np.concatenate(rows)


@lru_cache(4096)
def _wishes(packed: bytes) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the tags and the references of the articles that a reader has opted out of."""
    found = unpack_preferences(packed)
    if found is None:
        return (), NOTHING
    refs = [int.from_bytes(article_ref(each), "big") for each in found.blocked_articles]
    return tuple(found.blocked_tags), np.array(refs, dtype=np.int64)
