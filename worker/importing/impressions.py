"""From rows that each say "this reader was shown this article" to impressions, on disk.

Rows of one impression need not stand together, and what was clicked may be known from the clicks
alone. Both are matters of order: rows and clicks are sorted by reader and article to find what was
clicked, and rows by reader and impression to put each impression together. In memory are one chunk
of rows and one impression.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import msgspec

from schemas.records import MAX_IMPRESSION_ARTICLES, Click, Impression
from schemas.timestamps import to_ms
from worker.snapshot_sort import EntrySorter

TOO_MANY = f"impressions of more than {MAX_IMPRESSION_ARTICLES:,}"
"""What is said of impressions that no record can hold."""

APART_MS = 3_600_000
"""Rows of one impression that lie further apart look like an id that was given twice."""

_TIME_BYTES = 8


class ShownRow(NamedTuple):
    """A row of the table: an article that a reader was shown."""

    user_id: str
    article_id: str
    time_ms: int
    impression_id: str | None
    """Without one, all that a reader is shown at one time is one impression."""
    clicked: bool | None
    """None where the table does not say, and the clicks do."""
    position: float | None
    consent: bool


class _Row(msgspec.Struct, array_like=True):
    """A row as it is sorted: bytes of the same first fields stand together."""

    user_id: str
    impression_id: str | None
    alone_ms: int | None
    """The time, where it stands for the impression_id."""
    position: float
    number: int
    """Of the row in the table: what has no position, or the same, stays in the table's order."""
    article_id: str
    time_ms: int
    clicked: bool
    marked: bool
    """Whether the table said so."""
    consent: bool

    @property
    def impression(self) -> tuple[str, str | None, int | None]:
        """What identifies its impression."""
        return self.user_id, self.impression_id, self.alone_ms


class _Event(msgspec.Struct, array_like=True):
    """A showing or a click; sorted by reader, article and time, a showing before a click."""

    user_id: str
    article_id: str
    time: bytes
    """Big-endian, so that it sorts."""
    is_click: bool
    row: _Row | None


_pack = msgspec.msgpack.Encoder()
_unpack_row = msgspec.msgpack.Decoder(_Row)
_unpack_event = msgspec.msgpack.Decoder(_Event)


class ImpressionRows:
    """Take rows in any order, then clicks; give the impressions.

    A row that does not say whether it was clicked was, if it is the last showing of the article to
    that reader before a click on it, at most `click_window_ms` earlier.

    directory: must exist and belong to this alone. left_out, noticed: are counted into, see
    `Building`.

    Raises:
        OSError: from every method, when the disk refuses.
    """

    def __init__(
        self,
        directory: Path,
        chunk_size: int,
        click_window_ms: int,
        left_out: Counter[str],
        noticed: Counter[str],
    ) -> None:
        for name in ("rows", "events"):
            (directory / name).mkdir()
        self._rows = EntrySorter(directory / "rows", chunk_size)
        self._events = EntrySorter(directory / "events", chunk_size)
        self._window_ms = click_window_ms
        self._left_out, self._noticed = left_out, noticed
        self._num_rows = 0
        self._asks_clicks = False
        self._first_click_ms, self._last_click_ms = math.inf, -math.inf

    def add(self, shown: ShownRow) -> None:
        """Take a row; all of them before the first click."""
        row = _Row(
            user_id=shown.user_id,
            impression_id=shown.impression_id,
            alone_ms=shown.time_ms if shown.impression_id is None else None,
            position=math.inf if shown.position is None else shown.position,
            number=self._num_rows,
            article_id=shown.article_id,
            time_ms=shown.time_ms,
            clicked=bool(shown.clicked),
            marked=shown.clicked is not None,
            consent=shown.consent,
        )
        self._num_rows += 1
        if row.marked:
            self._rows.add(_pack.encode(row))
        else:
            self._asks_clicks = True
            self._add_event(row.user_id, row.article_id, row.time_ms, row)

    def add_click(self, click: Click) -> None:
        """Take a click of the set."""
        if not self._asks_clicks:
            return
        time_ms = to_ms(click.timestamp)
        self._first_click_ms = min(self._first_click_ms, time_ms)
        self._last_click_ms = max(self._last_click_ms, time_ms)
        self._add_event(click.user_id, click.article_id, time_ms, None)

    def impressions(self) -> Iterator[Impression]:
        """Yield the impressions by reader; once, after all rows and clicks."""
        for row in self._asked():
            self._rows.add(_pack.encode(row))
        rows = map(_unpack_row.decode, self._rows.sorted())
        for _, group in groupby(rows, lambda row: row.impression):
            impression = self._impression(group)
            if impression is not None:
                yield impression

    def _add_event(self, user_id: str, article_id: str, time_ms: int, row: _Row | None) -> None:
        time = time_ms.to_bytes(_TIME_BYTES, "big")
        self._events.add(_pack.encode(_Event(user_id, article_id, time, row is None, row)))

    def _asked(self) -> Iterator[_Row]:
        """Yield the rows that did not say whether they were clicked, with what the clicks say."""
        last: _Row | None = None
        for event in map(_unpack_event.decode, self._events.sorted()):
            if event.row is not None:
                if last is not None:
                    yield last
                last = event.row
            elif last is not None and self._follows(event, last):
                last.clicked = True
        if last is not None:
            yield last

    def _follows(self, click: _Event, shown: _Row) -> bool:
        if (click.user_id, click.article_id) != (shown.user_id, shown.article_id):
            return False
        return int.from_bytes(click.time, "big") - shown.time_ms <= self._window_ms

    def _impression(self, rows: Iterable[_Row]) -> Impression | None:
        """Return the impression of its rows, None where it is left out."""
        shown: dict[str, _Row] = {}
        consent = marked = True
        time_ms, last_ms, num_rows = None, 0, 0
        for row in rows:
            user_id, impression_id = row.user_id, row.impression_id
            num_rows += 1
            consent, marked = consent and row.consent, marked and row.marked
            time_ms = row.time_ms if time_ms is None else min(time_ms, row.time_ms)
            last_ms = max(last_ms, row.time_ms)
            known = shown.get(row.article_id)
            if known is not None:
                row.clicked |= known.clicked
                row.position, row.number = min(_place(known), _place(row))
            # One more than may be, to know that it is too many; a table may be one impression.
            if known is not None or len(shown) <= MAX_IMPRESSION_ARTICLES:
                shown[row.article_id] = row
        assert time_ms is not None
        if not consent:
            self._left_out["impressions without consent"] += 1
        elif len(shown) > MAX_IMPRESSION_ARTICLES:
            self._left_out[TOO_MANY] += 1
        elif not marked and not self._is_covered(time_ms):
            self._left_out["impressions at a time of which there are no clicks"] += 1
        else:
            self._left_out["repeated rows of impressions"] += num_rows - len(shown)
            self._noticed["impressions with rows of more than an hour apart"] += (
                last_ms - time_ms > APART_MS
            )
            in_order = sorted(shown.values(), key=_place)
            return Impression(
                user_id=user_id,
                timestamp=time_ms,
                candidates=[row.article_id for row in in_order],
                clicked=[row.article_id for row in in_order if row.clicked],
                impression_id=impression_id,
            )
        return None

    def _is_covered(self, time_ms: int) -> bool:
        """Return whether a click would be in the set, as far as its first and last click tell.

        Where the clicks had not begun yet, or have ended, that there is none says nothing.
        """
        return self._first_click_ms - self._window_ms <= time_ms <= self._last_click_ms


def _place(row: _Row) -> tuple[float, int]:
    return row.position, row.number
