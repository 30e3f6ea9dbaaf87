"""An entry of the click log: what one reader did, as every worker counts it.

The log carries no reader id. Layout, big-endian, after a length of 4 bytes:

| bytes | content |
|---|---|
| 0 | format version, 1 |
| 1, 2 | the reader's kind (history length, time since the last click) |
| 3 | S, number of segments |
| 4-5, 6-7, 8-9 | features F (0: nothing to learn), counted clicks C, entries E |
| 10-13 | checksum of the names of the features: a gradient of others teaches nothing |
| then | F float32 gradient; S bytes membership in 1/255; C uint16 positions; E × 16 entries |

The entries are those of a history, newest first: each counted click and what came before it.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.history import ENTRY_BYTES, read_entries
from worker.recommend.features import FEATURES

FORMAT_VERSION = 1
_LENGTH = struct.Struct(">I")
_HEAD = struct.Struct(">BBBBHHHI")
_FINGERPRINT = zlib.crc32(" ".join(FEATURES).encode())


class CountedClicks(NamedTuple):
    """New clicks of one reader, with those before them.

    Attributes:
        refs: (E,) int64 article references, newest first.
        times_ms: (E,) int64.
        counted: positions of the clicks to be counted.
        membership: (S,) float32, how far the reader belongs to each segment.
        gradient: (F,) float32 of the blend, or None.
        length, gap: the reader's kind when the newest counted click came.
    """

    refs: NDArray[np.int64]
    times_ms: NDArray[np.int64]
    counted: Sequence[int]
    membership: NDArray[np.float32]
    gradient: NDArray[np.float32] | None
    length: int
    gap: int


def pack_clicks(
    entries: bytes,
    counted: Sequence[int],
    membership: NDArray[np.float32],
    gradient: NDArray[np.float64] | None,
    length: int,
    gap: int,
) -> bytes:
    """Pack what one reader did; `entries` as in a history, without its header."""
    learned: bytes = b"" if gradient is None else gradient.astype(">f4").tobytes()
    shares: bytes = np.rint(np.clip(membership, 0.0, 1.0) * 255.0).astype(np.uint8).tobytes()
    positions: bytes = np.asarray(counted, dtype=">u2").tobytes()
    head: bytes = _HEAD.pack(
        FORMAT_VERSION,
        length,
        gap,
        len(shares),
        len(learned) // 4,
        len(counted),
        len(entries) // ENTRY_BYTES,
        _FINGERPRINT,
    )
    body = head + learned + shares + positions + entries
    return _LENGTH.pack(len(body)) + body


def unpack_clicks(entry: bytes) -> Iterator[CountedClicks]:
    """Yield what each reader of a log entry did; of another format version, nothing.

    Raises:
        ValueError: when the entry is cut off or its sizes do not fit.
    """
    at = 0
    while at < len(entry):
        if len(entry) - at < _LENGTH.size:
            raise ValueError("a click log entry is cut off")
        (size,) = _LENGTH.unpack_from(entry, at)
        body = entry[at + _LENGTH.size : at + _LENGTH.size + size]
        at += _LENGTH.size + size
        if len(body) != size or size < _HEAD.size:
            raise ValueError("a click log entry is cut off")
        head = _HEAD.unpack_from(body)
        version, length, gap, segments, features, counted, entries, fingerprint = head
        if version != FORMAT_VERSION:
            continue
        bounds = np.cumsum([_HEAD.size, 4 * features, segments, 2 * counted, 16 * entries])
        if bounds[-1] != size:
            raise ValueError("the sizes in a click log entry do not fit")
        times_ms, refs = read_entries(body[bounds[3] :])
        positions = np.frombuffer(body[bounds[2] : bounds[3]], dtype=">u2").tolist()
        if any(position >= entries for position in positions):
            raise ValueError("a click log entry counts what it does not hold")
        yield CountedClicks(
            refs,
            times_ms,
            positions,
            np.frombuffer(body[bounds[1] : bounds[2]], dtype=np.uint8).astype(np.float32) / 255.0,
            np.frombuffer(body[bounds[0] : bounds[1]], dtype=">f4").astype(np.float32)
            if features and fingerprint == _FINGERPRINT
            else None,
            length,
            gap,
        )
