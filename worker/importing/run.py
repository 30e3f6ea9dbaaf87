"""The dataflow of an import: files → rows → records → a reading set, all or nothing."""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
from tqdm import tqdm

from schemas.directories import staged
from schemas.errors import ReadingSetError
from schemas.reading_set import DatasetInfo
from worker.importing.building import Building, Written
from worker.importing.columns import TABLES, Columns, choose
from worker.importing.mind import MINUTE_MS, Mind, is_mind
from worker.importing.options import Options
from worker.importing.problems import Problems, Unread
from worker.importing.records import Records
from worker.importing.tables import Table, find_tables, open_table
from worker.set_files import check_replaceable, write_info
from worker.snapshot_sort import CHUNK_SIZE

Record = TypeVar("Record")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What an import wrote, and what it did not."""

    path: str
    format: str
    written: Written
    unread: list[Unread]
    left_out: dict[str, int]
    noticed: dict[str, int]


def import_set(
    source: Path,
    out: Path,
    options: Options,
    tell: Callable[[str], None] = lambda _: None,
    chunk_size: int = CHUNK_SIZE,
) -> Report:
    """Read the folder `source` and write the reading set `out`, all or nothing.

    The same files and options give the same bytes. tell: is given lines on which columns were
    taken for what. chunk_size: clicks sorted in memory at once.

    Raises:
        ReadingSetError: when a file is missing or cannot be read, nothing in it is a click, or
            `out` is something else.
        SettingsError: when the time zone is unknown.
    """
    check_replaceable(out)
    problems = Problems()
    # As a worker does, refuse what is dated more than a day ahead of now.
    now_ms = int(time.time() * 1000)
    mind = is_mind(source) and not options.files.keys() & {"articles", "clicks"}
    if mind and "impressions" in options.files:
        raise ReadingSetError(f"{source}: the impressions of a MIND-format folder are its own")
    try:
        with (
            staged(out) as staging,
            Building(staging, chunk_size, options.click_window_minutes * MINUTE_MS) as building,
        ):
            records = Records(options, problems, now_ms)
            if mind:
                _read_mind(source, options, problems, now_ms, building, records, tell)
            else:
                _read_tables(source, options, building, records, tell)
            written = building.write()
            if not written.clicks:
                raise ReadingSetError(f"{source}: no click could be read{_why(problems)}")
            write_info(staging, _description(out, options, written, mind))
    except OSError as error:
        raise ReadingSetError(f"{error.filename or out}: {error.strerror or error}") from error
    return Report(
        path=str(out),
        format="MIND" if mind else "tables",
        written=written,
        unread=problems.list(),
        left_out={reason: count for reason, count in building.left_out.items() if count},
        noticed={reason: count for reason, count in building.noticed.items() if count},
    )


def _read_mind(
    source: Path,
    options: Options,
    problems: Problems,
    now_ms: int,
    building: Building,
    records: Records,
    tell: Callable[[str], None],
) -> None:
    tell("MIND format: published_at = when first shown; see `frontpage import --help`")
    Mind(source, options, problems, now_ms).read(building)
    for table, columns in _open("users", source, options, tell, needed=False):
        building.add_readers(records.readers(table, columns))


def _read_tables(
    source: Path,
    options: Options,
    building: Building,
    records: Records,
    tell: Callable[[str], None],
) -> None:
    for table, columns in _open("articles", source, options, tell):
        articles = _shown(records.articles(table, columns), table.path.name)
        building.add_articles(articles, table.path.name)
    for table, columns in _open("clicks", source, options, tell):
        for click in _shown(records.clicks(table, columns), table.path.name):
            building.add_click(click)
    for table, columns in _open("impressions", source, options, tell, needed=False):
        if "clicked" not in columns.of:
            tell(f"{table.path.name}: what was clicked follows from the clicks (--click-window)")
        for row in _shown(records.shown(table, columns), table.path.name):
            building.add_shown(row)
    for table, columns in _open("users", source, options, tell, needed=False):
        building.add_readers(records.readers(table, columns))


def _open(
    name: str,
    source: Path,
    options: Options,
    tell: Callable[[str], None],
    *,
    needed: bool = True,
) -> Iterator[tuple[Table, Columns]]:
    """Yield the files of a table with their columns, and tell of them."""
    assert name in TABLES
    paths = find_tables(source, name, options.files.get(name))
    if needed and not paths:
        raise ReadingSetError(
            f"{source}: neither {name}.csv nor {name}.parquet, nor MIND-format; --{name} FILE"
        )
    for path in paths:
        table = open_table(path, options.format.delimiter, options.format.encoding)
        columns = choose(name, path.name, table.columns, options.columns.get(name, {}))
        tell(f"{path.name} ({table.description}): {columns}")
        yield table, columns


def _shown(records: Iterable[Record], name: str) -> Iterable[Record]:
    """Show progress where somebody looks."""
    progress: Iterable[Record] = tqdm(records, name, unit="", disable=None)
    return progress


def _why(problems: Problems) -> str:
    """Name the commonest reason, for a set of which nothing is left."""
    unread = max(problems.list(), key=lambda each: each.count, default=None)
    if unread is None:
        return ""
    return (
        f"; {unread.file}: {unread.reason}: {unread.count:,}, the first on line {unread.lines[0]}"
    )


def _description(out: Path, options: Options, written: Written, mind: bool) -> DatasetInfo:
    timestamps = "real"
    if mind:
        timestamps += "; of articles when they were first shown"
        if options.with_history:
            timestamps += "; of clicks of histories made up, a minute apart"
    return DatasetInfo(
        name=out.name,
        language=options.language,
        num_income_groups=len(options.income_groups),
        income_labels=list(options.income_groups),
        licence=options.licence,
        source="MIND-format folder" if mind else "CSV or Parquet",
        timestamps=timestamps,
        num_articles=written.articles,
        num_users=sum(written.readers.values()),
        num_clicks=written.clicks,
        num_impressions=written.impressions or None,
    )
