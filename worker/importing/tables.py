"""Files of rows, found by their names in a folder: CSV, read line by line, and Parquet."""

import csv
import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Protocol, cast

from schemas.errors import ReadingSetError
from schemas.records import MAX_MESSAGE_BYTES
from worker.importing.problems import Problems

Row = tuple[int, Sequence[Any]]
"""The line a row begins on, from 1, and its cells."""

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")

_DELIMITERS = ",;\t|"
_BOMS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}


class Table(Protocol):
    """A file of rows with named columns."""

    path: Path
    columns: list[str]
    description: str

    def rows(self, columns: Sequence[str], problems: Problems) -> Iterator[Row]:
        """Yield the cells of these columns; what is no row goes to `problems`."""
        ...


def find_tables(source: Path, name: str, given: Path | None) -> list[Path]:
    """Return the files of a table: `name` with a known suffix, or all in the folder `name`.

    given: a file or folder instead, relative to `source` or not. Several files are in the order of
    their names.

    Raises:
        ReadingSetError: when what was given is not there, or there are several candidates.
    """
    if given is not None:
        places = [place for place in (source / given, given) if place.exists()][:1]
        if not places:
            raise ReadingSetError(f"{given}: no such file or folder")
    else:
        places = [path for path in (source / f"{name}{end}" for end in SUFFIXES) if path.is_file()]
        places += [source / name] if (source / name).is_dir() else []
    if len(places) > 1:
        names = ", ".join(place.name for place in places)
        raise ReadingSetError(f"{source}: which are the {name}: {names}? --{name} NAME")
    if not places or places[0].is_file():
        return places
    parts = sorted(path for path in places[0].iterdir() if path.name.endswith(SUFFIXES))
    if not parts:
        raise ReadingSetError(f"{places[0]}: no file of rows ({', '.join(SUFFIXES)})")
    return parts


def open_table(path: Path, delimiter: str | None, encoding: str | None) -> Table:
    """Open a file of rows and read the names of its columns.

    Raises:
        ReadingSetError: when it cannot be read, is empty, or is Parquet and pyarrow is missing.
    """
    if path.suffix == ".parquet":
        # Imported here: pyarrow is an extra.
        from worker.importing.parquet import ParquetTable

        return ParquetTable(path)
    return CsvTable(path, delimiter, encoding)


class CsvTable:
    """A CSV file (or .tsv, or gzipped) whose first line names the columns.

    Raises:
        ReadingSetError: when it cannot be read, is empty, or names a column twice.
    """

    def __init__(self, path: Path, delimiter: str | None, encoding: str | None) -> None:
        self.path = path
        self._encoding = encoding or _encoding_of(path)
        try:
            with self._open() as file:
                header = file.readline(MAX_MESSAGE_BYTES)
        except (OSError, EOFError, UnicodeError, LookupError) as error:
            raise _unreadable(path, error) from error
        self._delimiter = delimiter or ("\t" if ".tsv" in path.suffixes else _delimiter_of(header))
        names = next(csv.reader([header], delimiter=self._delimiter), [])
        self.columns = [name.strip() for name in names]
        if not any(self.columns):
            raise ReadingSetError(f"{path}: the first line must name the columns")
        if len(set(self.columns)) < len(self.columns):
            raise ReadingSetError(f"{path}: two columns have one name")
        shown = {"\t": "tab"}.get(self._delimiter, self._delimiter)
        self.description = f"delimiter {shown}, {self._encoding}"

    def rows(self, columns: Sequence[str], problems: Problems) -> Iterator[Row]:
        """Yield the cells of these columns; what is no row goes to `problems`.

        Raises:
            ReadingSetError: when the file cannot be read on.
        """
        places = [self.columns.index(name) for name in columns]
        # Of the whole process, and the usual one is shorter than many an article.
        usual = csv.field_size_limit(MAX_MESSAGE_BYTES)
        try:
            with self._open() as file:
                for line, row in _numbered(csv.reader(file, delimiter=self._delimiter)):
                    if isinstance(row, csv.Error):
                        problems.add(self.path.name, "no row of CSV", line)
                    elif line == 1 or not row:
                        continue
                    elif len(row) != len(self.columns):
                        problems.add(self.path.name, "more or fewer cells than columns", line)
                    elif any(not _is_text(row[place]) for place in places):
                        reason = f"text is not {self._encoding} (see --encoding)"
                        problems.add(self.path.name, reason, line)
                    else:
                        yield line, [row[place] for place in places]
        except (OSError, EOFError, UnicodeError) as error:
            raise _unreadable(self.path, error) from error
        finally:
            csv.field_size_limit(usual)

    def _open(self) -> IO[str]:
        opener = gzip.open if self.path.suffix == ".gz" else open
        # What is not text is found row by row, as what cannot be encoded again.
        file = opener(
            self.path, "rt", encoding=self._encoding, errors="surrogateescape", newline=""
        )
        return cast(IO[str], file)


def _numbered(reader: Any) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """Yield each row, or why it is none, with the line it begins on."""
    while True:
        line = reader.line_num + 1
        try:
            yield line, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, error


def _is_text(cell: str) -> bool:
    if cell.isascii():
        return True
    try:
        cell.encode()
    except UnicodeEncodeError:
        return False
    return True


def _encoding_of(path: Path) -> str:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            start = file.read(3)
    except (OSError, EOFError) as error:
        raise _unreadable(path, error) from error
    return next((name for bom, name in _BOMS.items() if start.startswith(bom)), "utf-8")


def _delimiter_of(header: str) -> str:
    """Return the delimiter that stands most often in a header, outside of quotes.

    >>> _delimiter_of('"a,b,c";d;e')
    ';'
    """
    outside = "".join(header.split('"')[::2])
    return max(_DELIMITERS, key=outside.count)


def _unreadable(path: Path, error: Exception) -> ReadingSetError:
    if isinstance(error, LookupError):
        return ReadingSetError(f"{path}: unknown encoding")
    if isinstance(error, UnicodeError):
        return ReadingSetError(f"{path}: not in the encoding it should be in (see --encoding)")
    return ReadingSetError(f"{path}: {getattr(error, 'strerror', None) or error}")
