"""An entry of the click log: what one reader did or was shown, as every worker counts it.

The log carries no reader id. Layout of clicks, big-endian, after a length of 4 bytes:

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
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.history import ENTRY_BYTES, REF_BYTES, read_entries
from worker.recommend.features import FEATURES, NUM_ARTICLE, NUM_FEATURES, NUM_STEPS

CLICKS, IMPRESSION = 3, 2
"""Formats."""

_LENGTH = struct.Struct(">I")
_HEAD = struct.Struct(">BBBBHHHIH")
_SHOWN_HEAD = struct.Struct(">BHHI")
_SPREAD_BYTES = 4 * NUM_FEATURES
_LARGEST_STEP = 6e4
"""What 16 bits have room for."""

_LEAST_STEP = 1e-3
"""Rows by kinds of articles that are smaller everywhere are not worth their bytes."""

_FINGERPRINT = zlib.crc32(" ".join(FEATURES).encode())


class Learned(NamedTuple):
    """What a click taught its worker; see `lessons.learn_click`.

    Attributes:
        gradient: (NUM_STEPS, F).
        spread: (F,).
    """

    gradient: NDArray[Any]
    spread: NDArray[Any]


class CountedClicks(NamedTuple):
    """New clicks of one reader, with those before them.

    Attributes:
        refs: (E,) int64 article references, newest first.
        times_ms: (E,) int64.
        counted: positions of the clicks to be counted.
        membership: (S,) float32, how far the reader belongs to each segment.
        learned: None where there was nothing to learn, or of other features.
        length, gap: the reader's kind when the newest counted click came.
    """

    refs: NDArray[np.int64]
    times_ms: NDArray[np.int64]
    counted: Sequence[int]
    membership: NDArray[np.float32]
    learned: Learned | None
    length: int
    gap: int


class CountedImpression(NamedTuple):
    """What one reader was shown at one moment.

    Attributes:
        refs: (C,) int64 article references.
        clicked: (C,) bool.
        gradient: (F,) float32 of the weights of impressions, or None.
    """

    refs: NDArray[np.int64]
    clicked: NDArray[np.bool_]
    gradient: NDArray[np.float32] | None


def pack_clicks(
    entries: bytes,
    counted: Sequence[int],
    membership: NDArray[np.float32],
    learned: Learned | None,
    length: int,
    gap: int,
) -> bytes:
    """Pack what one reader did; `entries` as in a history, without its header."""
    lesson, rows = b"", np.empty(0, dtype=np.int64)
    if learned is not None:
        gradient, spread = learned
        rows = 1 + np.flatnonzero(np.abs(gradient[1:]).max(axis=1) >= _LEAST_STEP)
        steps = np.concatenate([gradient[0], gradient[rows, :NUM_ARTICLE].ravel()])
        steps = np.clip(steps, -_LARGEST_STEP, _LARGEST_STEP)
        lesson = spread.astype(">f4").tobytes() + steps.astype(">f2").tobytes()
    shares: bytes = np.rint(np.clip(membership, 0.0, 1.0) * 255.0).astype(np.uint8).tobytes()
    positions: bytes = np.asarray(counted, dtype=">u2").tobytes()
    head: bytes = _HEAD.pack(
        CLICKS,
        length,
        gap,
        len(shares),
        sum(1 << row for row in (0, *rows.tolist())) if lesson else 0,
        len(counted),
        len(entries) // ENTRY_BYTES,
        _FINGERPRINT,
        len(lesson),
    )
    body = head + lesson + shares + positions + entries
    return _LENGTH.pack(len(body)) + body


def pack_impression(
    refs: NDArray[np.int64], clicked: NDArray[np.bool_], gradient: NDArray[np.float64] | None
) -> bytes:
    """Pack what one reader was shown, (C,) references, and which of it was clicked, (C,)."""
    learned: bytes = b"" if gradient is None else gradient.astype(">f4").tobytes()
    wide = refs.astype(">i8").view(np.uint8).reshape(-1, 8)
    body = (
        _SHOWN_HEAD.pack(IMPRESSION, len(learned) // 4, len(refs), _FINGERPRINT)
        + learned
        + clicked.astype(np.uint8).tobytes()
        + wide[:, -REF_BYTES:].tobytes()
    )
    return _LENGTH.pack(len(body)) + body


def unpack(entry: bytes) -> Iterator[CountedClicks | CountedImpression]:
    """Yield what each reader of a log entry did or was shown; of an unknown format, nothing.

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
        if len(body) != size or not size:
            raise ValueError("a click log entry is cut off")
        if body[0] == CLICKS:
            yield _clicks(body)
        elif body[0] == IMPRESSION:
            yield _impression(body)


def _clicks(body: bytes) -> CountedClicks:
    if len(body) < _HEAD.size:
        raise ValueError("a click log entry is cut off")
    head = _HEAD.unpack_from(body)
    _, length, gap, segments, bits, counted, entries, fingerprint, learned = head
    bounds = _bounds(body, _HEAD.size, learned, segments, 2 * counted, 16 * entries)
    times_ms, refs = read_entries(body[bounds[3] :])
    positions = np.frombuffer(body[bounds[2] : bounds[3]], dtype=">u2").tolist()
    if any(position >= entries for position in positions):
        raise ValueError("a click log entry counts what it does not hold")
    return CountedClicks(
        refs,
        times_ms,
        positions,
        np.frombuffer(body[bounds[1] : bounds[2]], dtype=np.uint8).astype(np.float32) / 255.0,
        _learned(body[bounds[0] : bounds[1]], bits) if fingerprint == _FINGERPRINT else None,
        length,
        gap,
    )


def _impression(body: bytes) -> CountedImpression:
    if len(body) < _SHOWN_HEAD.size:
        raise ValueError("a click log entry is cut off")
    _, features, shown, fingerprint = _SHOWN_HEAD.unpack_from(body)
    bounds = _bounds(body, _SHOWN_HEAD.size, 4 * features, shown, REF_BYTES * shown)
    wide = np.zeros((shown, 8), dtype=np.uint8)
    wide[:, -REF_BYTES:] = np.frombuffer(body[bounds[2] :], dtype=np.uint8).reshape(
        shown, REF_BYTES
    )
    return CountedImpression(
        wide.view(">i8")[:, 0].astype(np.int64),
        np.frombuffer(body[bounds[1] : bounds[2]], dtype=np.uint8) == 1,
        _gradient(body[bounds[0] : bounds[1]], fingerprint),
    )


def _bounds(body: bytes, *sizes: int) -> list[int]:
    """Return where the head and each part of an entry end."""
    bounds = list(accumulate(sizes))
    if bounds[-1] != len(body):
        raise ValueError("the sizes in a click log entry do not fit")
    return bounds


def _gradient(raw: bytes, fingerprint: int) -> NDArray[np.float32] | None:
    if not raw or fingerprint != _FINGERPRINT:
        return None
    return np.frombuffer(raw, dtype=">f4").astype(np.float32)


def _learned(packed: bytes, bits: int) -> Learned | None:
    if not bits:
        return None
    rows = [row for row in range(1, NUM_STEPS) if bits >> row & 1]
    num_steps = NUM_FEATURES + len(rows) * NUM_ARTICLE
    if len(packed) != _SPREAD_BYTES + 2 * num_steps or bits >> NUM_STEPS or not bits & 1:
        raise ValueError("what a click log entry teaches does not fit")
    gradient = np.zeros((NUM_STEPS, NUM_FEATURES), dtype=np.float32)
    steps = np.frombuffer(packed[_SPREAD_BYTES:], dtype=">f2").astype(np.float32)
    gradient[0] = steps[:NUM_FEATURES]
    gradient[rows, :NUM_ARTICLE] = steps[NUM_FEATURES:].reshape(len(rows), NUM_ARTICLE)
    spread = np.frombuffer(packed[:_SPREAD_BYTES], dtype=">f4").astype(np.float32)
    if not (np.isfinite(gradient).all() and np.isfinite(spread).all()):
        raise ValueError("what a click log entry teaches is not finite")
    return Learned(gradient, spread)
