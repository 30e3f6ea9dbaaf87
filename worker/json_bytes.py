"""JSON as bytes, written by compiled functions: kept text, numbers and times, as msgspec does.

Each function writes into a flat array from a position on and returns the position after it. None
looks whether there is room: the caller does, before an object.
"""

import math
import re
import struct
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array
from numpy.typing import NDArray

from worker.compiled import compiled, inlined

DECIMALS = 4
SCALE = 10.0**DECIMALS
NUMBER_BYTES = 24
"""Room that a number or a time takes, at most."""

MOST_SCALED = 1e15
"""Up to it, a number times `SCALE` is an exact integer, and its digits are those of the shortest
text that reads as the number."""

MS_PER_DAY = 86_400_000
TIME_BYTES = 27
"""Of a time with a fraction, without its quotes."""

_DIGIT = 48  # "0"
_MINUS, _POINT = 45, 46
_LINE_END = 10

# Where a number is too large, or none: NUL, which JSON never holds, and the bytes of the float.
_UNUSUAL = re.compile(rb"\0(.{8})", re.DOTALL)

Bytes = NDArray[np.uint8]

_encoder = msgspec.json.Encoder()
_llvm: Any = cgutils  # which declare no types
_array: Any = make_array


@intrinsic
def _copy(_: Any, out: Any, at: Any, text: Any, start: Any, size: Any) -> Any:  # noqa: ARG001
    """Copy `size` bytes of one flat array to another.

    A loop over them, or an assignment of slices, takes three to ten times as long.
    """

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        of_out, of_text = signature.args[0], signature.args[2]
        out, at, text, start, size = given
        target = _llvm.pointer_add(builder, _array(of_out)(context, builder, out).data, at)
        source = _llvm.pointer_add(builder, _array(of_text)(context, builder, text).data, start)
        _llvm.raw_memcpy(builder, target, source, size, 1)
        return context.get_dummy_value()

    return types.void(out, types.int64, text, types.int64, types.int64), generate


_memcpy: Any = _copy


@inlined
def copied(out: Bytes, at: int, text: Bytes, start: int, end: int) -> int:
    """Write `text[start:end]`."""
    _memcpy(out, at, text, start, end - start)
    return at + end - start


@inlined
def whole(out: Bytes, at: int, value: int) -> int:
    """Write an integer that is not negative."""
    first = at
    at += 1
    bound = 10
    while value >= bound:
        at += 1
        bound *= 10
    for place in range(at - 1, first - 1, -1):
        out[place] = _DIGIT + value % 10
        value //= 10
    return at


@inlined
def number(out: Bytes, at: int, value: float) -> int:
    """Write a number that is rounded to `DECIMALS`."""
    scaled = np.rint(value * SCALE)
    if abs(scaled) < MOST_SCALED:
        out[at] = _MINUS
        at += math.copysign(1.0, value) < 0.0
        multiple = int(abs(scaled))
        # Nearly all numbers are below 1 and have all decimals: spare them a division and a loop.
        ones = 0
        if multiple >= 10_000:
            ones = multiple // 10_000
            multiple -= ones * 10_000
        if ones < 10:
            out[at] = _DIGIT + ones
            at += 1
        else:
            at = whole(out, at, ones)
        out[at] = _POINT
        decimals = np.uint32(multiple)
        high = decimals // np.uint32(100)
        low = decimals - high * np.uint32(100)
        out[at + 1] = _DIGIT + high // np.uint32(10)
        out[at + 2] = _DIGIT + high % np.uint32(10)
        out[at + 3] = _DIGIT + low // np.uint32(10)
        out[at + 4] = _DIGIT + low % np.uint32(10)
        if low % np.uint32(10):
            at += 5
        else:
            at += 2 + (low != 0 or high % np.uint32(10) != 0) + (low != 0)
    else:
        bits = np.float64(value).view(np.int64)
        out[at] = 0
        for place in range(8):
            out[at + 1 + place] = bits >> 8 * place & 255
        at += 9
    return at


@compiled
def fixed(out: Bytes, at: int, value: int, num_digits: int) -> int:
    """Write an integer with leading zeros."""
    for place in range(at + num_digits - 1, at - 1, -1):
        out[place] = _DIGIT + value % 10
        value //= 10
    return at + num_digits


@compiled
def utc_time(out: Bytes, at: int, time_ms: int) -> int:
    """Write a moment from 1970 to 9999, without quotes."""
    days = time_ms // MS_PER_DAY
    # Years from March on, so that the leap day is the last; 719,468 days from 0000-03-01 to 1970.
    since = days + 719_468
    era = since // 146_097
    day_of_era = since % 146_097
    year = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year + year // 4 - year // 100)
    month = (5 * day_of_year + 2) // 153  # 0 is March
    day = day_of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    at = fixed(out, at, era * 400 + year + (1 if month <= 2 else 0), 4)
    out[at] = 45  # -
    at = fixed(out, at + 1, month, 2)
    out[at] = 45
    at = fixed(out, at + 1, day, 2)
    out[at] = 84  # T
    ms = time_ms % MS_PER_DAY
    at = fixed(out, at + 1, ms // 3_600_000, 2)
    out[at] = 58  # :
    at = fixed(out, at + 1, ms // 60_000 % 60, 2)
    out[at] = 58
    at = fixed(out, at + 1, ms // 1000 % 60, 2)
    if ms % 1000:
        out[at] = _POINT
        at = fixed(out, at + 1, ms % 1000 * 1000, 6)
    out[at] = 90  # Z
    return at + 1


def literal(text: str) -> Bytes:
    """Return text as an array of bytes, which a compiled function may copy from."""
    return np.frombuffer(text.encode(), dtype=np.uint8)


def lines(values: list[str]) -> tuple[Bytes, NDArray[np.int64]]:
    r"""Return strings as JSON, and where each starts: string n ends before the next, less 1.

    >>> text, starts = lines(['a', 'say "b"'])
    >>> text.tobytes(), starts.tolist()
    (b'"a"\n"say \\"b\\""\n', [0, 4, 16])
    """
    text = np.frombuffer(_encoder.encode_lines(values), dtype=np.uint8)
    starts = np.flatnonzero(text == _LINE_END) + 1  # within a string it is escaped
    return text, np.append(0, starts)


class Texts:
    """Pieces of JSON that are kept, in one flat array, by table and row.

    A row of a table has a number of pieces, one after the other.

    Attributes:
        text: (capacity,) uint8.
        bounds: of each table, (capacity, pieces + 1) int64 positions in `text`, all the same of a
            row that was never put.
    """

    def __init__(self, *num_pieces: int) -> None:
        self.text: Bytes = np.empty(1 << 12, dtype=np.uint8)
        self.bounds = [np.zeros((64, each + 1), dtype=np.int64) for each in num_pieces]
        self.size = 0
        """Bytes in use, and holes among them."""
        self._hole_bytes = 0

    def put(self, table: int, row: int, pieces: tuple[bytes, ...]) -> None:
        """Keep the pieces of a row, in place of those that it had."""
        while row >= len(self.bounds[table]):
            grown = np.zeros_like(self.bounds[table])
            self.bounds[table] = np.concatenate([self.bounds[table], grown])
        bounds = self.bounds[table][row]
        self._hole_bytes += int(bounds[-1] - bounds[0])
        bounds[:] = 0
        if self._hole_bytes > self.size // 2:
            self._close_holes()
        joined = b"".join(pieces)
        while self.size + len(joined) > len(self.text):
            self.text = np.concatenate([self.text, np.empty_like(self.text)])
        self.text[self.size : self.size + len(joined)] = np.frombuffer(joined, dtype=np.uint8)
        bounds[0] = self.size
        np.cumsum([len(each) for each in pieces], out=bounds[1:])
        bounds[1:] += self.size
        self.size += len(joined)

    def _close_holes(self) -> None:
        starts = np.concatenate([bounds[:, 0] for bounds in self.bounds])
        ends = np.concatenate([bounds[:, -1] for bounds in self.bounds])
        held = self.text.data
        pieces = zip(starts.tolist(), ends.tolist(), strict=True)
        joined = b"".join([held[start:end] for start, end in pieces])
        self.size = len(joined)
        self.text[: self.size] = np.frombuffer(joined, dtype=np.uint8)
        sizes = ends - starts
        shifts = starts - (np.cumsum(sizes) - sizes)
        first = 0
        for bounds in self.bounds:
            bounds -= shifts[first : first + len(bounds), None]
            first += len(bounds)
        self._hole_bytes = 0


class Output:
    """A buffer that the objects of a batch are written into, kept for the next batch."""

    def __init__(self) -> None:
        self._buffer: Bytes = np.empty(1 << 12, dtype=np.uint8)

    def written(
        self, num: int, write: Callable[[Bytes, NDArray[np.int64], int], int]
    ) -> list[bytes]:
        """Return `num` objects.

        write: takes the buffer, the (num + 1,) positions between objects, to be filled, and which
        object to begin with; returns how many there are when it is done or lacks room.
        """
        ends = np.zeros(num + 1, dtype=np.int64)
        done = 0
        while (done := write(self._buffer, ends, done)) < num:
            self._buffer = np.concatenate([self._buffer, np.empty_like(self._buffer)])
        raw = self._buffer[: ends[-1]].tobytes()
        objects = [raw[start:end] for start, end in pairwise(ends.tolist())]
        if b"\0" in raw:
            return [_UNUSUAL.sub(_unusual, each) for each in objects]
        return objects


def _unusual(found: re.Match[bytes]) -> bytes:
    (value,) = struct.unpack("<d", found[1])
    return _encoder.encode(round(value, DECIMALS))
