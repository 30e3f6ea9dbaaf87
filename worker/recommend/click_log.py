"""An entry of the click log: what readers did or were shown, as every worker counts it.

One after another; `log_reader` reads them. The log carries no reader id. Layout of clicks,
big-endian, after a length of 4 bytes:

| bytes | content |
|---|---|
| 0 | format, 3 |
| 1, 2 | the reader's kind (history length, time since the last click) |
| 3 | S, number of segments |
| 4-5 | which rows of the gradient follow, a bit each (0: nothing to learn) |
| 6-7, 8-9 | counted clicks C, entries E |
| 10-13 | checksum of the names of the features: a gradient of others teaches nothing |
| 14-15 | bytes of what is learned |
| then | float32 spread (F); float16 gradient, F common and A for each other row; S bytes \
membership in 1/255; C uint16 positions; E × 16 entries |

The entries are those of a history, newest first: each counted click and what came before it.

Layout of an impression, after a length of 4 bytes:

| bytes | content |
|---|---|
| 0 | format, 2 |
| 1-2, 3-4 | features F (0: nothing to learn), articles shown C |
| 5-8 | checksum of the names of the features |
| then | F float32 gradient; C bytes, 1 where clicked; C × 6 bytes article references |

What is of another format is passed over: a worker may be older than what wrote the entry.
"""

import struct
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.history import ENTRY_BYTES, REF_BYTES
from worker.recommend.features import FEATURES, NUM_ARTICLE, NUM_FEATURES

CLICKS, IMPRESSION = 3, 2
"""Formats."""

LENGTH = struct.Struct(">I")
HEAD = struct.Struct(">BBBBHHHIH")
SHOWN_HEAD = struct.Struct(">BHHI")
SPREAD_BYTES = 4 * NUM_FEATURES
_LARGEST_STEP = 6e4
"""What 16 bits have room for."""

_LEAST_STEP = 1e-3
"""Rows by kinds of articles that are smaller everywhere are not worth their bytes."""

FINGERPRINT = zlib.crc32(" ".join(FEATURES).encode())


class Learned(NamedTuple):
    """What a click taught its worker; see `lessons.learn_click`.

    Attributes:
        gradient: (NUM_STEPS, F).
        spread: (F,).
    """

    gradient: NDArray[Any]
    spread: NDArray[Any]


def pack_clicks(
    entries: bytes,
    counted: Sequence[int],
    membership: NDArray[np.float32],
    learned: Learned | None,
    length: int,
    gap: int,
) -> bytes:
    """Pack what one reader did; `entries` as in a history, without its header.

    counted: positions among the entries. membership: (S,). length, gap: the reader's kind.
    """
    lesson, bits = b"", 0
    if learned is not None:
        gradient, spread = learned
        rows = 1 + np.flatnonzero(np.abs(gradient[1:]).max(axis=1) >= _LEAST_STEP)
        steps = np.concatenate([gradient[0], gradient[rows, :NUM_ARTICLE].ravel()])
        steps = np.clip(steps, -_LARGEST_STEP, _LARGEST_STEP)
        lesson = spread.astype(">f4").tobytes() + steps.astype(">f2").tobytes()
        bits = sum(1 << row for row in (0, *rows.tolist()))
    return _pack(entries, counted, _shares(membership), lesson, bits, length, gap)


def pack_untaught(
    entries: Sequence[bytes], counted: Sequence[Sequence[int]], memberships: NDArray[np.float32]
) -> list[bytes]:
    """Pack what R readers did of whom nothing was learned, as `pack_clicks` packs each.

    memberships: (R, S).
    """
    shares, num_segments = _shares(memberships), memberships.shape[1]
    return [
        _pack(own, positions, shares[at * num_segments : (at + 1) * num_segments], b"", 0, 0, 0)
        for at, (own, positions) in enumerate(zip(entries, counted, strict=True))
    ]


def _shares(memberships: NDArray[np.float32]) -> bytes:
    shares: bytes = np.rint(np.clip(memberships, 0.0, 1.0) * 255.0).astype(np.uint8).tobytes()
    return shares


def _pack(
    entries: bytes,
    counted: Sequence[int],
    shares: bytes,
    lesson: bytes,
    bits: int,
    length: int,
    gap: int,
) -> bytes:
    num = len(counted)
    size = HEAD.size + len(lesson) + len(shares) + 2 * num + len(entries)
    head = HEAD.pack(
        CLICKS,
        length,
        gap,
        len(shares),
        bits,
        num,
        len(entries) // ENTRY_BYTES,
        FINGERPRINT,
        len(lesson),
    )
    positions = struct.pack(f">{num}H", *counted)
    return b"".join((LENGTH.pack(size), head, lesson, shares, positions, entries))


def pack_impression(
    refs: NDArray[np.int64], clicked: NDArray[np.bool_], gradient: NDArray[np.float64] | None
) -> bytes:
    """Pack what one reader was shown, (C,) references, and which of it was clicked, (C,)."""
    learned: bytes = b"" if gradient is None else gradient.astype(">f4").tobytes()
    wide = refs.astype(">i8").view(np.uint8).reshape(-1, 8)
    body = (
        SHOWN_HEAD.pack(IMPRESSION, len(learned) // 4, len(refs), FINGERPRINT)
        + learned
        + clicked.astype(np.uint8).tobytes()
        + wide[:, -REF_BYTES:].tobytes()
    )
    return LENGTH.pack(len(body)) + body
