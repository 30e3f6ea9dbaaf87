"""Read an entry of the click log: what its readers clicked as flat arrays, in one compiled pass."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.history import ENTRY_BYTES, REF_BYTES, TIME_BYTES
from worker.compiled import compiled
from worker.recommend.click_log import (
    CLICKS,
    FINGERPRINT,
    HEAD,
    IMPRESSION,
    LENGTH,
    SHOWN_HEAD,
    SPREAD_BYTES,
    Learned,
)
from worker.recommend.features import GAPS_MS, LENGTHS, NUM_ARTICLE, NUM_FEATURES, NUM_STEPS

_LENGTH_BYTES, _HEAD_BYTES = LENGTH.size, HEAD.size
_MAX_LENGTH, _MAX_GAP = len(LENGTHS), len(GAPS_MS)
_GOOD, _CUT_OFF, _DOES_NOT_FIT, _NO_KIND, _NOT_HELD = range(5)
_COMPLAINTS = (
    "",
    "a click log entry is cut off",
    "the sizes in a click log entry do not fit",
    "no such kind of reader",
    "a click log entry counts what it does not hold",
)
_READERS, _COUNTED, _ENTRIES, _SEGMENTS, _APART, _NUM_TOTALS = range(6)


class CountedClicks(NamedTuple):
    """New clicks of R readers, with those before them.

    Attributes:
        refs: (E,) int64 article references, reader after reader, of each the newest first.
        times_ms: (E,) int64.
        counted: (C,) int64, places of the clicks to be counted among those, in the order in which
            they count: reader after reader, of each the oldest first.
        ends: (C,) int64 of each, where the entries of its reader end.
        readers: (C,) int64, the reader of each.
        memberships: (R, S) float32, how far readers belong to each segment.
        num_segments: (R,) int64, how many segments each reader's model has; S is the most.
    """

    refs: NDArray[np.int64]
    times_ms: NDArray[np.int64]
    counted: NDArray[np.int64]
    ends: NDArray[np.int64]
    readers: NDArray[np.int64]
    memberships: NDArray[np.float32]
    num_segments: NDArray[np.int64]


class Taught(NamedTuple):
    """What the oldest counted click of one reader taught.

    Attributes:
        learned: see `Learned`.
        length, gap: the reader's kind when that click came.
    """

    learned: Learned
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


class Told(NamedTuple):
    """What an entry of the click log tells; lessons and impressions in the order of their readers.

    A lesson of other features teaches nothing, and is left out.
    """

    clicks: CountedClicks
    lessons: list[Taught]
    impressions: list[CountedImpression]


def unpack(entry: bytes) -> Told:
    """Return what the readers of a log entry did and were shown; of an unknown format, nothing.

    Raises:
        ValueError: when the entry is cut off, its sizes do not fit, or what it teaches does not.
    """
    raw = np.frombuffer(entry, dtype=np.uint8)
    error, clicks, apart = _read(raw)
    if error:
        raise ValueError(_COMPLAINTS[error])
    lessons, impressions = [], []
    for start, end in apart.tolist():
        if entry[start] == CLICKS:
            lessons.append(_taught(entry[start:end]))
        else:
            impressions.append(_impression(entry[start:end]))
    return Told(clicks, lessons, impressions)


@compiled
def _number(raw: NDArray[np.uint8], at: int, size: int) -> int:
    """Return the big-endian number of so many bytes."""
    found = np.int64(0)
    for place in range(at, at + size):
        found = found << 8 | np.int64(raw[place])
    return int(found)


@compiled
def _measure(raw: NDArray[np.uint8], totals: NDArray[np.int64]) -> int:
    """Write how much an entry holds; return what is wrong with it."""
    at, end = 0, len(raw)
    while at < end:
        if end - at < _LENGTH_BYTES:
            return _CUT_OFF
        size = _number(raw, at, _LENGTH_BYTES)
        at += _LENGTH_BYTES
        if not size or end - at < size:
            return _CUT_OFF
        if raw[at] == CLICKS:
            if size < _HEAD_BYTES:
                return _CUT_OFF
            if raw[at + 1] > _MAX_LENGTH or raw[at + 2] > _MAX_GAP:
                return _NO_KIND
            segments = _number(raw, at + 3, 1)
            counted, entries = _number(raw, at + 6, 2), _number(raw, at + 8, 2)
            learned = _number(raw, at + 14, 2)
            if size != _HEAD_BYTES + learned + segments + 2 * counted + ENTRY_BYTES * entries:
                return _DOES_NOT_FIT
            totals[_READERS] += 1
            totals[_COUNTED] += counted
            totals[_ENTRIES] += entries
            totals[_SEGMENTS] = max(totals[_SEGMENTS], segments)
            totals[_APART] += _teaches(raw, at)
        elif raw[at] == IMPRESSION:
            totals[_APART] += 1
        at += size
    return _GOOD


@compiled
def _teaches(raw: NDArray[np.uint8], at: int) -> bool:
    return _number(raw, at + 4, 2) != 0 and _number(raw, at + 10, 4) == FINGERPRINT


@compiled
def _read(raw: NDArray[np.uint8]) -> tuple[int, CountedClicks, NDArray[np.int64]]:
    """Return what is wrong with an entry, its clicks, and what is read apart.

    The last: (A, 2) where each of those begins and ends that teach or are impressions.
    """
    totals = np.zeros(_NUM_TOTALS, dtype=np.int64)
    error = _measure(raw, totals)
    if error:
        totals[:] = 0
    refs = np.empty(totals[_ENTRIES], dtype=np.int64)
    times_ms = np.empty(totals[_ENTRIES], dtype=np.int64)
    counted = np.empty(totals[_COUNTED], dtype=np.int64)
    ends = np.empty(totals[_COUNTED], dtype=np.int64)
    readers = np.empty(totals[_COUNTED], dtype=np.int64)
    memberships = np.zeros((totals[_READERS], totals[_SEGMENTS]), dtype=np.float32)
    num_segments = np.empty(totals[_READERS], dtype=np.int64)
    apart = np.empty((totals[_APART], 2), dtype=np.int64)
    at, end = 0, 0 if error else len(raw)
    num_readers, num_counted, num_entries, num_apart = 0, 0, 0, 0
    while at < end:
        size = _number(raw, at, _LENGTH_BYTES)
        at += _LENGTH_BYTES
        is_clicks = raw[at] == CLICKS
        if raw[at] == IMPRESSION or (is_clicks and _teaches(raw, at)):
            apart[num_apart] = at, at + size
            num_apart += 1
        if is_clicks:
            part = at + _HEAD_BYTES + _number(raw, at + 14, 2)
            segments = _number(raw, at + 3, 1)
            num_segments[num_readers] = segments
            for segment in range(segments):
                share = np.float32(raw[part + segment])
                memberships[num_readers, segment] = share / np.float32(255.0)
            part += segments
            first_entry, num_held = num_entries, _number(raw, at + 8, 2)
            begin, num_counted = num_counted, num_counted + _number(raw, at + 6, 2)
            # The oldest first; they come newest first, so each goes before the others.
            for back in range(num_counted - 1, begin - 1, -1):
                position = _number(raw, part, 2)
                if position >= num_held:
                    error = _NOT_HELD
                place = back
                while place + 1 < num_counted and counted[place + 1] > first_entry + position:
                    counted[place] = counted[place + 1]
                    place += 1
                counted[place] = first_entry + position
                ends[back] = first_entry + num_held
                readers[back] = num_readers
                part += 2
            for _ in range(num_held):
                times_ms[num_entries] = _number(raw, part, TIME_BYTES)
                part += ENTRY_BYTES
                refs[num_entries] = _number(raw, part - REF_BYTES, REF_BYTES)
                num_entries += 1
            num_readers += 1
        at += size
    clicks = CountedClicks(refs, times_ms, counted, ends, readers, memberships, num_segments)
    return error, clicks, apart


def _taught(body: bytes) -> Taught:
    _, length, gap, _, bits, _, _, _, size = HEAD.unpack_from(body)
    return Taught(_learned(body[HEAD.size : HEAD.size + size], bits), length, gap)


def _learned(packed: bytes, bits: int) -> Learned:
    rows = [row for row in range(1, NUM_STEPS) if bits >> row & 1]
    num_steps = NUM_FEATURES + len(rows) * NUM_ARTICLE
    if len(packed) != SPREAD_BYTES + 2 * num_steps or bits >> NUM_STEPS or not bits & 1:
        raise ValueError("what a click log entry teaches does not fit")
    gradient = np.zeros((NUM_STEPS, NUM_FEATURES), dtype=np.float32)
    steps = np.frombuffer(packed[SPREAD_BYTES:], dtype=">f2").astype(np.float32)
    gradient[0] = steps[:NUM_FEATURES]
    gradient[rows, :NUM_ARTICLE] = steps[NUM_FEATURES:].reshape(len(rows), NUM_ARTICLE)
    spread = np.frombuffer(packed[:SPREAD_BYTES], dtype=">f4").astype(np.float32)
    if not (np.isfinite(gradient).all() and np.isfinite(spread).all()):
        raise ValueError("what a click log entry teaches is not finite")
    return Learned(gradient, spread)


def _impression(body: bytes) -> CountedImpression:
    if len(body) < SHOWN_HEAD.size:
        raise ValueError("a click log entry is cut off")
    _, features, shown, fingerprint = SHOWN_HEAD.unpack_from(body)
    gradient_end = SHOWN_HEAD.size + 4 * features
    clicked_end = gradient_end + shown
    if len(body) != clicked_end + REF_BYTES * shown:
        raise ValueError("the sizes in a click log entry do not fit")
    wide = np.zeros((shown, 8), dtype=np.uint8)
    wide[:, -REF_BYTES:] = np.frombuffer(body[clicked_end:], dtype=np.uint8).reshape(
        shown, REF_BYTES
    )
    gradient = None
    if features and fingerprint == FINGERPRINT:
        gradient = np.frombuffer(body[SHOWN_HEAD.size : gradient_end], dtype=">f4")
        gradient = gradient.astype(np.float32)
        if features != NUM_FEATURES or not np.isfinite(gradient).all():
            raise ValueError("a gradient does not fit the blend")
    return CountedImpression(
        wide.view(">i8")[:, 0].astype(np.int64),
        np.frombuffer(body[gradient_end:clicked_end], dtype=np.uint8) == 1,
        gradient,
    )
