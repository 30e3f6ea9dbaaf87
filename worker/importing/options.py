"""What a person tells an import: by options of the command, or in a TOML file (`--map`).

```toml
[articles]                     # columns by field
article_id = "doc"
tags = ["desk", "keywords"]    # of several columns
published_at = ""              # do not guess: there is none

[clicks]
timestamp = "seen"

[format]
time_format = "%d.%m.%Y %H:%M"
time_zone = "Europe/Berlin"
tag_separator = ";"
female = ["frau"]              # more words than the usual ones
```
"""

import tomllib
from pathlib import Path
from typing import Annotated

import msgspec

from schemas.errors import SettingsError
from worker.importing.columns import TABLES, Given, check_given

_Column = str | list[str]


class Format(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How files are written."""

    delimiter: Annotated[str, msgspec.Meta(min_length=1, max_length=1)] | None = None
    """Between the cells of a line; found in the header unless given."""
    encoding: str | None = None
    """UTF-8, or what the byte order mark says, unless given."""
    tag_separator: str = "|"
    """Between the tags of a cell; empty where each cell is one tag."""
    time_format: str = "auto"
    time_zone: str | None = None
    """Of times that say none, which are not read without it."""
    female: list[str] = []
    male: list[str] = []


class MapFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file of `--map`."""

    articles: dict[str, _Column] = {}
    clicks: dict[str, _Column] = {}
    impressions: dict[str, _Column] = {}
    users: dict[str, _Column] = {}
    format: Format = Format()


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """All that an import is told."""

    columns: dict[str, Given] = {}
    """By table."""
    format: Format = Format()
    files: dict[str, Path] = {}
    """Files or folders by table, in place of those that are looked for."""
    income_groups: tuple[str, ...] = tuple(map(str, range(10)))
    language: str | None = None
    licence: str | None = None
    with_history: bool = False
    click_window_minutes: int = 30
    """Until when a click counts for an impression that does not say what was clicked."""


def read_map(path: Path | None) -> tuple[dict[str, Given], Format]:
    """Read the columns by table, and the format, of a TOML file.

    Raises:
        SettingsError: when the file cannot be read or holds something else.
        ReadingSetError: when it names a field that does not exist.
    """
    if path is None:
        return {}, Format()
    try:
        file = msgspec.convert(tomllib.loads(path.read_text()), MapFile)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
    columns: dict[str, Given] = {}
    for table in TABLES:
        told: dict[str, _Column] = getattr(file, table)
        given = {
            field: [name for name in ([column] if isinstance(column, str) else column) if name]
            for field, column in told.items()
        }
        check_given(table, given)
        columns[table] = given
    return columns, file.format
