"""From the rows of a table to records."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar, cast, get_args

from schemas.decode import check_id, check_timestamp, checked_article, checked_click
from schemas.errors import InvalidMessageError
from schemas.reading_set import Reader, Split, split_of
from schemas.records import Article, Click
from schemas.timestamps import MAX_RFC3339_MS, from_ms
from worker.importing.cells import (
    FEMALE,
    MALE,
    Times,
    clicked_of,
    consent_of,
    gender_of,
    id_of,
    number_of,
    tags_of,
    text_of,
)
from worker.importing.columns import Columns
from worker.importing.impressions import ShownRow
from worker.importing.options import Options
from worker.importing.problems import Problems, UnreadableError
from worker.importing.tables import Table

Value = TypeVar("Value")

OLDEST_YEARS = 120.0

REFUSED = {
    "timestamp": "time before 1970 or after 9999",
    "future": "time more than a day ahead",
    "invalid": "id too long, or not valid Unicode",
}
"""What a message is refused for, in the words of an import."""


class Records:
    """Read records from tables; what cannot be read goes to `problems`.

    now_ms: the time that a click may be a day ahead of, as a worker has it.

    Raises:
        SettingsError: when the time zone is unknown.
    """

    def __init__(self, options: Options, problems: Problems, now_ms: int) -> None:
        self._options, self._problems, self._now_ms = options, problems, now_ms
        form = options.format
        self._times = Times(form.time_format, form.time_zone)
        self._female = FEMALE | {word.casefold() for word in form.female}
        self._male = MALE | {word.casefold() for word in form.male}

    def articles(self, table: Table, columns: Columns) -> Iterator[Article]:
        """Yield the articles; of a time that is not understood the article stays, without it."""
        for row in self._rows(table, columns):
            try:
                article = Article(
                    article_id=row.needed_id("article_id"),
                    title=text_of(row.cell("title")),
                    body=text_of(row.cell("body")),
                    tags=tags_of(row.cells("tags"), self._options.format.tag_separator),
                    published_at=row.optional("published_at", self._published),
                    language=text_of(row.cell("language")) or self._options.language,
                )
                yield checked_article(article)
            except (UnreadableError, InvalidMessageError) as error:
                row.refuse(error)

    def clicks(self, table: Table, columns: Columns) -> Iterator[Click]:
        """Yield the clicks."""
        for row in self._rows(table, columns):
            try:
                click = Click(
                    timestamp=self._needed_time(row),
                    user_id=row.needed_id("user_id"),
                    article_id=row.needed_id("article_id"),
                    event_id=id_of(row.cell("event_id")),
                    consent=consent_of(row.cell("consent")),
                )
                yield checked_click(click, self._now_ms)
            except (UnreadableError, InvalidMessageError) as error:
                row.refuse(error)

    def shown(self, table: Table, columns: Columns) -> Iterator[ShownRow]:
        """Yield the rows of impressions; what was clicked is None where no column says it."""
        says_clicked = "clicked" in columns.of
        for row in self._rows(table, columns):
            try:
                shown = ShownRow(
                    time_ms=self._needed_time(row),
                    user_id=row.needed_id("user_id"),
                    article_id=row.needed_id("article_id"),
                    impression_id=id_of(row.cell("impression_id")),
                    clicked=clicked_of(row.cell("clicked")) if says_clicked else None,
                    position=row.optional("position", number_of),
                    consent=consent_of(row.cell("consent")),
                )
                check_timestamp(shown.time_ms, self._now_ms)
                for identifier in (shown.user_id, shown.article_id, shown.impression_id):
                    check_id(identifier or "")
                yield shown
            except (UnreadableError, InvalidMessageError) as error:
                row.refuse(error)

    def readers(self, table: Table, columns: Columns) -> Iterator[Reader]:
        """Yield the readers; a label that is not understood is left empty."""
        for row in self._rows(table, columns):
            try:
                user_id = row.needed_id("user_id")
                check_id(user_id)
                yield Reader(
                    user_id=user_id,
                    age=row.optional("age", _age_of),
                    gender=row.optional(
                        "gender", lambda cell: gender_of(cell, self._female, self._male)
                    ),
                    income_group=row.optional("income_group", self._income_of),
                    split=row.optional("split", _split_of) or split_of(user_id),
                )
            except (UnreadableError, InvalidMessageError) as error:
                row.refuse(error)

    def _rows(self, table: Table, columns: Columns) -> Iterator["_Row"]:
        names = [name for of_field in columns.of.values() for name in of_field]
        places, at = {}, 0
        for field, of_field in columns.of.items():
            places[field] = slice(at, at + len(of_field))
            at += len(of_field)
        for line, cells in table.rows(names, self._problems):
            yield _Row(table.path.name, line, cells, places, self._problems)

    def _needed_time(self, row: "_Row") -> int:
        """Return the epoch milliseconds of a row that must have a time."""
        timestamp_ms = self._times.read(row.cell("timestamp"))
        if timestamp_ms is None:
            raise UnreadableError("no timestamp")
        return timestamp_ms

    def _published(self, cell: Any) -> datetime | None:
        timestamp_ms = self._times.read(cell)
        if timestamp_ms is None:
            return None
        if not 0 <= timestamp_ms <= MAX_RFC3339_MS:
            raise UnreadableError(REFUSED["timestamp"])
        return from_ms(timestamp_ms)

    def _income_of(self, cell: Any) -> int | None:
        """Return the group of a cell: its name, or its number from 0."""
        name = id_of(cell)
        if name is None:
            return None
        groups = self._options.income_groups
        if name in groups:
            return groups.index(name)
        group = int(name) if name.isascii() and name.isdecimal() else -1
        if not 0 <= group < len(groups):
            raise UnreadableError("none of the income groups (see --income-groups)")
        return group


def _age_of(cell: Any) -> float | None:
    age = number_of(cell)
    if age is not None and not 0.0 < age <= OLDEST_YEARS:
        raise UnreadableError("no age of a human")
    return age


def _split_of(cell: Any) -> Split | None:
    name = id_of(cell)
    if name is None:
        return None
    if name not in get_args(Split):
        raise UnreadableError("none of train, valid, test")
    return cast(Split, name)


class _Row(NamedTuple):
    file: str
    line: int
    all_cells: Sequence[Any]
    places: dict[str, slice]
    problems: Problems

    def cells(self, field: str) -> Sequence[Any]:
        """Return the cells of a field, none where it has no column."""
        place = self.places.get(field)
        return () if place is None else self.all_cells[place]

    def cell(self, field: str) -> Any:
        """Return the cell of a field, None where it has no column."""
        place = self.places.get(field)
        return None if place is None else self.all_cells[place.start]

    def needed_id(self, field: str) -> str:
        """Return an id that must be there."""
        found = id_of(self.cell(field))
        if found is None:
            raise UnreadableError(f"no {field}")
        return found

    def optional(self, field: str, read: Callable[[Any], Value | None]) -> Value | None:
        """Return what `read` makes of a cell; where it cannot, None, and count it."""
        try:
            return read(self.cell(field))
        except UnreadableError as error:
            self.problems.add(self.file, f"{field} left empty: {error.reason}", self.line)
            return None

    def refuse(self, error: UnreadableError | InvalidMessageError) -> None:
        """Count the row as one that cannot be read."""
        self.problems.add(self.file, REFUSED.get(error.reason, error.reason), self.line)
