"""The console command `import`."""

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from schemas.errors import ReadingSetError
from worker.snapshot_command import Groups

if TYPE_CHECKING:
    from worker.importing.run import Report

_FILE = click.Path(path_type=Path)


@click.command("import")
@click.argument("source", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--articles", type=_FILE, help="The articles' file or folder, if not articles.csv.")
@click.option("--clicks", type=_FILE, help="The clicks' file or folder, if not clicks.csv.")
@click.option(
    "--impressions", type=_FILE, help="The impressions' file or folder, if not impressions.csv."
)
@click.option("--users", type=_FILE, help="The labels' file or folder, if not users.csv.")
@click.option(
    "--map",
    "map_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML file of columns and format; options given here go before it.",
)
@click.option(
    "--column",
    "given",
    multiple=True,
    metavar="TABLE.FIELD=NAME",
    help="Which column is a field, such as clicks.timestamp=seen; repeat it for several columns of "
    "tags; without a name the field stays empty.",
)
@click.option("--delimiter", help="Between cells. Default: what the header has most of.")
@click.option("--encoding", help="Default: UTF-8, or what the byte order mark says.")
@click.option("--tag-separator", help="Between the tags of a cell. Default: |")
@click.option(
    "--time-format",
    help="auto, s, ms, or as of strptime: '%d.%m.%Y %H:%M'. Default: auto (a number is epoch "
    "seconds or milliseconds, anything else ISO 8601).",
)
@click.option(
    "--time-zone",
    help="Of times that say none, such as Europe/Berlin. Default: they are not read (MIND: UTC).",
)
@click.option(
    "--income-groups",
    type=Groups(),
    default="10",
    show_default=True,
    help="How many income groups there are, or their names, lowest first: low,middle,high.",
)
@click.option("--language", help="Of articles that say none, such as en.")
@click.option("--licence", help="Under which the data may be used; goes into model cards.")
@click.option(
    "--with-history",
    is_flag=True,
    help="MIND: put the clicks of a reader's history, which have no time, before the reader's "
    "first impression, a minute apart.",
)
@click.option(
    "--click-window",
    "click_window_minutes",
    type=click.IntRange(min=0),
    default=30,
    show_default=True,
    metavar="MINUTES",
    help="Of impressions that do not say what was clicked: a click counts for the last showing of "
    "its article to the reader, if that was at most so long before.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def import_command(
    source: Path,
    out: Path,
    map_file: Path | None,
    given: tuple[str, ...],
    as_json: bool,
    **chosen: Any,
) -> None:
    """Turn the folder SOURCE into OUT, a reading set to train on.

    SOURCE holds articles, clicks and, for training, users (labels), and where it is known what was
    shown, impressions (a row for each article shown), each a file .csv, .csv.gz, .tsv, .tsv.gz or
    .parquet, or a folder of such files; or it is a MIND-format folder (news.tsv, behaviors.tsv).
    Columns are found by their names unless told; which was taken for what goes to
    standard error. What cannot be read is left out and reported, by line, without what it said.

    Of a MIND-format folder clicks come from impressions, impressions are kept, a news item counts
    as published when it was first shown, and times are UTC unless --time-zone says otherwise.

    An older reading set at OUT is replaced.
    """
    # Told to stop, remove what was written so far: it is personal data.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    from worker.importing.options import Options, read_map
    from worker.importing.run import import_set

    columns, form = read_map(map_file)
    for table, fields in _told(given).items():
        columns[table] = {**columns.get(table, {}), **fields}
    format_names = ("delimiter", "encoding", "tag_separator", "time_format", "time_zone")
    told = {name: chosen.pop(name) for name in format_names}
    told["delimiter"] = _delimiter(told["delimiter"])
    form = msgspec.structs.replace(
        form, **{name: value for name, value in told.items() if value is not None}
    )
    files = {name: chosen.pop(name) for name in ("articles", "clicks", "impressions", "users")}
    options = Options(
        columns=columns,
        format=form,
        files={name: path for name, path in files.items() if path is not None},
        **chosen,
    )
    report = import_set(source, out, options, lambda line: click.echo(line, err=True))
    click.echo(msgspec.json.encode(report) if as_json else _text(report))


def _told(given: tuple[str, ...]) -> dict[str, dict[str, list[str]]]:
    """Return the columns of `--column` by table and field."""
    from worker.importing.columns import TABLES, check_given

    columns: dict[str, dict[str, list[str]]] = {}
    for each in given:
        place, equals, name = each.partition("=")
        table, _, field = place.partition(".")
        if not equals or table not in TABLES:
            raise click.UsageError(f"--column: expected TABLE.FIELD=NAME, of {', '.join(TABLES)}")
        columns.setdefault(table, {}).setdefault(field, []).extend([name] if name else [])
    for table, fields in columns.items():
        try:
            check_given(table, fields)
        except ReadingSetError as error:
            raise click.UsageError(f"--column: {error}") from error
    return columns


def _delimiter(given: str | None) -> str | None:
    if given in ("\\t", "tab"):
        return "\t"
    if given is not None and len(given) != 1:
        raise click.UsageError("--delimiter: one character, or tab")
    return given


def _text(report: "Report") -> str:
    written = report.written
    splits = ", ".join(f"{split} {count:,}" for split, count in written.readers.items())
    impressions = f", {written.impressions:,} impressions" if written.impressions else ""
    lines = [
        f"{report.path}: {written.articles:,} articles, {written.clicks:,} clicks{impressions}, "
        f"{sum(written.readers.values()):,} labelled readers ({splits})",
        f"clicks from {written.first_click} to {written.last_click}",
    ]
    for unread in report.unread:
        where = ", ".join(map(str, unread.lines))
        more = ", …" if unread.count > len(unread.lines) else ""
        lines.append(
            f"not read: {unread.file}: {unread.reason}: {unread.count:,} (line {where}{more})"
        )
    lines += [f"left out: {reason}: {count:,}" for reason, count in report.left_out.items()]
    lines += [f"look: {reason}: {count:,}" for reason, count in report.noticed.items()]
    return "\n".join(lines)
