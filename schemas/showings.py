"""What a reader was shown lately: the N newest showings, packed as clicks are in a history.

A showing is one article of one impression, an entry of `schemas.history`: time, checksum of the
impression, reference of the article. The showings of an impression share their first ten bytes. It
is a set, cut to its newest, as a history is: replays and reordering cannot change it, and what it
holds tells whether an impression has been counted.
"""

from collections.abc import Iterable

from schemas.history import ENTRY_BYTES, REF_BYTES, article_ref, pack_entry

MAX_SHOWINGS = 256
"""Kept per reader, 4 kB: 25 pages of ten articles."""

IMPRESSION_BYTES = ENTRY_BYTES - REF_BYTES
"""The beginning of a showing, which says of which impression it is."""


def pack_showings(
    timestamp_ms: int, impression_id: str | None, article_ids: Iterable[str]
) -> list[bytes]:
    """Pack an impression, an entry an article. Without an id, time and articles identify it.

    >>> one, other = pack_showings(1_700_000_000_000, "i1", ["a17", "a18"])
    >>> one[:IMPRESSION_BYTES] == other[:IMPRESSION_BYTES], len(one)
    (True, 16)
    """
    ids = list(article_ids)
    identity = "\0".join(ids) if impression_id is None else impression_id
    return [pack_entry(timestamp_ms, identity, article_ref(each)) for each in ids]
