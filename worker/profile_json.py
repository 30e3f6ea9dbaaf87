"""Profiles as the JSON of `Profile`, written as bytes for all readers of a batch at once.

Byte for byte what msgspec makes of the records. Probabilities and shares are rounded to 4
decimals, years to 2.
"""

from datetime import datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from worker.catalogue import Catalogue
from worker.compiled import compiled
from worker.json_bytes import (
    NUMBER_BYTES,
    SCALE,
    TIME_BYTES,
    Bytes,
    Output,
    Texts,
    copied,
    lines,
    literal,
    number,
    utc_time,
    whole,
)
from worker.model import LEAST_SD_YEARS, Estimates
from worker.reading import Reading

PROFILE_TAGS = 10
"""Tag interests listed in a profile."""

_YEAR_SCALE = 100.0
_COMMA = 44

_USER, _YEARS, _SD = literal('{"user_id":'), literal(',"age":{"years":'), literal(',"sd":')
_GROUP, _PROBABILITIES = literal('},"income":{"group":'), literal(',"probabilities":[')
_FEMALE, _TAGS = literal(']},"gender":{"female":'), literal('},"tags":{')
_NUM_CLICKS, _NUM_KNOWN = literal('},"num_clicks":'), literal(',"num_known":')
_FIRST, _LAST = literal(',"first_click":"'), literal('","last_click":"')
_KEYS_BYTES = 512
"""Room that all of these take, and more."""

_encode = msgspec.json.Encoder().encode


class ProfileWriter:
    """Write profiles of readers of a catalogue; the names of its tags are encoded once."""

    def __init__(self, catalogue: Catalogue, model_version: str) -> None:
        self._catalogue = catalogue
        self._version = model_version
        self._names = Texts(1)
        self._by_name: list[int] = []
        self._places = np.empty(0, dtype=np.int64)  # of each tag in the order of names
        self._output = Output()

    def write(
        self,
        user_ids: list[str],
        reading: Reading,
        estimates: Estimates,
        interests: NDArray[np.float32],
        now: datetime,
    ) -> list[bytes]:
        """Return the profiles of B readers. interests: (B, G) float32, their own in each tag."""
        # Compiled code does not look whether an index is within an array.
        assert len(user_ids) == len(estimates.female) == len(interests) == len(reading.known)
        self._follow()
        ids, id_starts = lines(user_ids)
        version, moment = _encode(self._version).decode(), _encode(now).decode()
        end = literal(f'","model_version":{version},"updated_at":{moment}}}')
        groups = estimates.income.argmax(axis=1)

        def write(out: Bytes, ends: NDArray[np.int64], first: int) -> int:
            return _write(
                ids,
                id_starts,
                end,
                estimates.age_years,
                estimates.age_sd,
                groups,
                estimates.income,
                estimates.female,
                interests,
                self._places,
                self._names.text,
                self._names.bounds[0],
                reading.starts,
                reading.times_ms,
                reading.known,
                out,
                ends,
                first,
            )

        return self._output.written(len(user_ids), write)

    def _follow(self) -> None:
        """Encode and sort the names of new tags."""
        names, num_known = self._catalogue.tag_names, len(self._by_name)
        if num_known == len(names):
            return
        for tag in range(num_known, len(names)):
            self._names.put(0, tag, (_encode(names[tag]) + b":",))
        # Equal shares go by name: tag numbers differ from worker to worker.
        self._by_name += range(num_known, len(names))
        self._by_name.sort(key=names.__getitem__)
        self._places = np.empty(len(names), dtype=np.int64)
        self._places[self._by_name] = np.arange(len(names))


@compiled
def _rounded(out: Bytes, at: int, value: float, scale: float) -> int:
    # Called, not copied to each of its six places: that would double the time of compiling.
    return number(out, at, np.rint(value * scale) / scale)


@compiled
def _write(
    ids: Bytes,
    id_starts: NDArray[np.int64],
    profile_end: Bytes,
    age_years: NDArray[np.float32],
    age_sd: NDArray[np.float32],
    groups: NDArray[np.int64],
    income: NDArray[np.float32],
    female: NDArray[np.float32],
    interests: NDArray[np.float32],
    name_places: NDArray[np.int64],
    names: Bytes,
    name_bounds: NDArray[np.int64],
    click_starts: NDArray[np.int64],
    times_ms: NDArray[np.int64],
    known: NDArray[np.bool_],
    out: Bytes,
    ends: NDArray[np.int64],
    first: int,
) -> int:
    """Write the profiles from `first` on; see `Output.written`.

    ids, id_starts: as from `lines`, of B readers. profile_end: what follows the time of the last
    click. age_years, age_sd, groups, female: (B,). income: (B, I). interests: (B, G).
    name_places: (G,) of each tag in the order of names. names, name_bounds: those of `Texts`.
    click_starts, times_ms, known: as in `Reading`.
    """
    num_groups = income.shape[1]
    top = np.empty(PROFILE_TAGS, dtype=np.int64)
    shares = np.empty(PROFILE_TAGS)
    for reader in range(first, len(female)):
        num_top = 0
        for tag in range(interests.shape[1]):
            if interests[reader, tag] == 0.0:
                continue
            share = np.rint(np.float64(interests[reader, tag]) * SCALE) / SCALE
            if share == 0.0:
                continue
            place = num_top
            while place and (
                shares[place - 1] < share
                or (shares[place - 1] == share and name_places[top[place - 1]] > name_places[tag])
            ):
                place -= 1
            if place == PROFILE_TAGS:
                continue
            num_top = min(num_top + 1, PROFILE_TAGS)
            for each in range(num_top - 1, place, -1):
                top[each], shares[each] = top[each - 1], shares[each - 1]
            top[place], shares[place] = tag, share

        at = ends[reader]
        id_start, id_end = id_starts[reader], id_starts[reader + 1] - 1
        num_bytes = _KEYS_BYTES + id_end - id_start + len(profile_end) + 2 * TIME_BYTES
        num_bytes += (6 + num_groups + num_top) * (NUMBER_BYTES + 1)
        for each in range(num_top):
            num_bytes += name_bounds[top[each], 1] - name_bounds[top[each], 0]
        if at + num_bytes > len(out):
            return reader

        at = copied(out, at, _USER, 0, len(_USER))
        at = copied(out, at, ids, id_start, id_end)
        at = copied(out, at, _YEARS, 0, len(_YEARS))
        at = _rounded(out, at, np.float64(age_years[reader]), _YEAR_SCALE)
        at = copied(out, at, _SD, 0, len(_SD))
        sd_years = float(age_sd[reader])
        if sd_years < LEAST_SD_YEARS:
            sd_years = LEAST_SD_YEARS
        at = _rounded(out, at, sd_years, _YEAR_SCALE)
        at = copied(out, at, _GROUP, 0, len(_GROUP))
        at = whole(out, at, groups[reader])
        at = copied(out, at, _PROBABILITIES, 0, len(_PROBABILITIES))
        for group in range(num_groups):
            if group:
                out[at] = _COMMA
                at += 1
            at = _rounded(out, at, np.float64(income[reader, group]), SCALE)
        at = copied(out, at, _FEMALE, 0, len(_FEMALE))
        at = _rounded(out, at, np.float64(female[reader]), SCALE)
        at = copied(out, at, _TAGS, 0, len(_TAGS))
        for each in range(num_top):
            if each:
                out[at] = _COMMA
                at += 1
            at = copied(out, at, names, name_bounds[top[each], 0], name_bounds[top[each], 1])
            at = _rounded(out, at, shares[each], SCALE)

        start, end = click_starts[reader], click_starts[reader + 1]
        newest_ms = times_ms[start] if end > start else 0
        oldest_ms = times_ms[end - 1] if end > start else 0
        num_known = 0
        for click in range(known.shape[1]):
            num_known += known[reader, click]
        at = copied(out, at, _NUM_CLICKS, 0, len(_NUM_CLICKS))
        at = whole(out, at, end - start)
        at = copied(out, at, _NUM_KNOWN, 0, len(_NUM_KNOWN))
        at = whole(out, at, num_known)
        at = copied(out, at, _FIRST, 0, len(_FIRST))
        at = utc_time(out, at, oldest_ms)
        at = copied(out, at, _LAST, 0, len(_LAST))
        at = utc_time(out, at, newest_ms)
        ends[reader + 1] = copied(out, at, profile_end, 0, len(profile_end))
    return len(female)
