"""From a cell, which may be text or what Parquet holds, to an id, a text, tags, a label, a time."""

import math
import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, tzinfo
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from schemas.errors import SettingsError
from schemas.timestamps import to_ms
from worker.importing.problems import UnreadableError

Gender = Literal["female", "male"]

FEMALE = frozenset({"female", "f", "woman", "w"})
MALE = frozenset({"male", "m", "man"})

_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_SECONDS_BELOW = 1e11  # as seconds the year 5138, as milliseconds March 1973
_NO = frozenset({"false", "0", "no", "n", "f"})
_YES = frozenset({"true", "1", "yes", "y", "t"})


def text_of(value: Any) -> str | None:
    """Return a cell as text; None where it is empty.

    >>> text_of(" a "), text_of(17.0), text_of(""), text_of(float("nan"))
    (' a ', '17', None, None)

    Raises:
        UnreadableError: when it is a list or another thing that has no text.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        try:
            return value.decode() or None
        except UnicodeDecodeError as error:
            raise UnreadableError("text is not UTF-8") from error
    if isinstance(value, float):
        if math.isnan(value):
            return None
        # A column of whole numbers with a hole in it becomes one of floats in many tools.
        return str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, int):
        return str(value)
    raise UnreadableError("a value that is neither text nor a number")


def id_of(value: Any) -> str | None:
    """Return a cell as an id, without spaces around it; None where it is empty."""
    text = text_of(value)
    return (text.strip() or None) if text else None


def tags_of(values: Iterable[Any], separator: str) -> list[str] | None:
    """Return the distinct tags of one or more cells, in order; None where there is none.

    >>> tags_of(["sport| football |sport", None, ["cup"]], "|")
    ['sport', 'football', 'cup']
    """
    found: dict[str, None] = {}
    for value in values:
        if isinstance(value, list):
            parts = [text_of(part) or "" for part in value]
        else:
            text = text_of(value) or ""
            parts = text.split(separator) if separator else [text]
        found.update(dict.fromkeys(part.strip() for part in parts))
    found.pop("", None)
    return list(found) or None


def number_of(value: Any) -> float | None:
    """Return a cell as a number; None where it is empty.

    Raises:
        UnreadableError: when it is not a number.
    """
    try:
        number = float(value if not isinstance(value, str) else value.strip() or "nan")
    except (TypeError, ValueError) as error:
        if value is None:
            return None
        raise UnreadableError("not a number") from error
    return None if math.isnan(number) else number


def gender_of(value: Any, female: frozenset[str], male: frozenset[str]) -> Gender | None:
    """Return a cell as a gender; None where it is empty. The words are in lower case.

    Raises:
        UnreadableError: when it is neither of the two that a model can learn.
    """
    word = (id_of(value) or "").casefold()
    if not word:
        return None
    if word in female:
        return "female"
    if word in male:
        return "male"
    raise UnreadableError("neither female nor male")


def consent_of(value: Any) -> bool:
    """Return whether a cell says that a click may be used; an empty one does.

    >>> consent_of("no"), consent_of(False), consent_of(None), consent_of("true")
    (False, False, True, True)
    """
    if isinstance(value, bool):
        return value
    return (id_of(value) or "").casefold() not in _NO


def clicked_of(value: Any) -> bool:
    """Return whether a cell says that something was clicked.

    >>> clicked_of("Yes"), clicked_of(0), clicked_of("1.0"), clicked_of(True)
    (True, False, True, True)

    Raises:
        UnreadableError: when it says neither, as an empty one does.
    """
    if isinstance(value, bool):
        return value
    # "1.0" is what many tools write for 1 in a column with a hole in it.
    word = (id_of(value) or "").casefold().removesuffix(".0")
    if word in _YES or word in _NO:
        return word in _YES
    raise UnreadableError("clicked is neither yes nor no")


class Times:
    """Read times to epoch milliseconds.

    kind: `auto` (a number is epoch seconds below 1e11 and milliseconds from there, anything else
    ISO 8601), `s`, `ms`, or a format of `strptime`. zone: the time zone of times that say none.

    Raises:
        SettingsError: when the zone is unknown.
    """

    def __init__(self, kind: str = "auto", zone: str | None = None) -> None:
        self._kind = kind
        self._zone: tzinfo | None = None if zone is None else zone_of(zone)

    def read(self, value: Any) -> int | None:
        """Return epoch milliseconds; None where the cell is empty.

        >>> Times().read("2026-11-23T08:00:00Z"), Times().read("1795507200"), Times("ms").read(5)
        (1795420800000, 1795507200000, 5)

        Raises:
            UnreadableError: when it is no time of this kind, or of no time zone.
        """
        if isinstance(value, datetime):
            return self._aware(value)
        if isinstance(value, date):
            return self._aware(datetime.combine(value, time()))
        text = id_of(value)
        if text is None:
            return None
        try:
            if self._kind in ("s", "ms") or (self._kind == "auto" and _NUMBER.fullmatch(text)):
                return self._epoch(text)
            if self._kind == "auto":
                return self._aware(datetime.fromisoformat(text))
            return self._aware(datetime.strptime(text, self._kind))
        except (ValueError, OverflowError) as error:
            raise UnreadableError("time not understood (see --time-format)") from error

    def _epoch(self, text: str) -> int:
        if self._kind == "ms" or (self._kind == "auto" and abs(float(text)) >= _SECONDS_BELOW):
            return int(text) if text.lstrip("-").isdecimal() else math.floor(float(text))
        return round(float(text) * 1000)

    def _aware(self, moment: datetime) -> int:
        if moment.tzinfo is None:
            if self._zone is None:
                raise UnreadableError("time without an offset (see --time-zone)")
            moment = moment.replace(tzinfo=self._zone)
        return to_ms(moment)


def zone_of(name: str) -> tzinfo:
    """Return a time zone by its name, such as `UTC` or `Europe/Berlin`.

    Raises:
        SettingsError: when this machine knows none of that name.
    """
    if name == "UTC":  # needs no database of time zones, which slim systems lack
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise SettingsError(f"--time-zone: unknown time zone {name!r}") from error
