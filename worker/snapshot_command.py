"""The console command `snapshot`."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from schemas.timestamps import MAX_RFC3339_MS, Timestamp, to_ms
from worker.settings import read_settings


class Moment(click.ParamType):
    """A time: RFC 3339 with an offset, or epoch milliseconds; becomes the latter."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return epoch milliseconds."""
        if isinstance(value, int):
            return value
        try:
            digits = value.isascii() and value.isdecimal()
            timestamp_ms = to_ms(msgspec.convert(int(value) if digits else value, Timestamp))
        except msgspec.ValidationError:
            self.fail("not a time such as 2026-11-01T00:00:00Z", param, ctx)
        if timestamp_ms > MAX_RFC3339_MS:
            self.fail("after the year 9999", param, ctx)
        return timestamp_ms


class Groups(click.ParamType):
    """Income groups: how many there are, or their names; becomes the names."""

    name = "groups"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Return the names, lowest first."""
        names = tuple(name.strip() for name in value.split(","))
        if len(names) == 1 and value.isascii() and value.isdecimal() and int(value) <= 1000:
            names = tuple(map(str, range(int(value))))
        if len(set(names)) < max(2, len(names)) or "" in names:
            self.fail("neither a number of groups nor their names", param, ctx)
        return names


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--labels",
    "labels_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON Lines of reader labels (.gz or not), instead of the topic.",
)
@click.option("--from", "from_ms", type=Moment(), default=0, help="Leave out earlier clicks.")
@click.option(
    "--until",
    "until_ms",
    type=Moment(),
    default=MAX_RFC3339_MS + 1,
    help="Leave out clicks at this time and later.",
)
@click.option(
    "--income-groups",
    type=Groups(),
    default="10",
    show_default=True,
    help="How many income groups there are, or their names, lowest first: low,middle,high.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def snapshot(out: Path, as_json: bool, **wanted: Any) -> None:
    """Write what the topics hold now to OUT, a reading set to train on.

    Articles, clicks and the labels of the readers who filled in a form. Each labelled reader is
    put into the train, valid or test split, the same one in every snapshot. An older reading set
    at OUT is replaced.
    """
    if wanted["from_ms"] >= wanted["until_ms"]:
        raise click.UsageError("--from must be before --until")
    # Told to stop, remove what was written so far: it is personal data.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # Imported here: the Kafka clients take long to import.
    from worker.snapshot import Report, Wanted, take_snapshot

    report: Report = take_snapshot(read_settings(os.environ), out, Wanted(**wanted))
    if as_json:
        click.echo(msgspec.json.encode(report))
        return
    splits = ", ".join(f"{split} {count:,}" for split, count in report.readers.items())
    num_readers = sum(report.readers.values())
    click.echo(
        f"{out}: {report.articles:,} articles, {report.clicks:,} clicks, "
        f"{num_readers:,} labelled readers ({splits})"
    )
    for reason, count in report.left_out.items():
        click.echo(f"left out: {reason}: {count:,}")
    for topic, reasons in report.bad.items():
        for reason, count in reasons.items():
            click.echo(f"bad messages on {topic}: {reason}: {count:,}")
