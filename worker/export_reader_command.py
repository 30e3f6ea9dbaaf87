"""`frontpage export-reader`: all that is held of a reader, as JSON."""

import os

import click
import msgspec

from worker.commands import with_redis
from worker.kept import export_reader as read_reader
from worker.reader_id import ReaderId
from worker.settings import read_settings


@click.command()
@click.argument("user", type=ReaderId())
def export_reader(user: str) -> None:
    """Print all that Redis holds of a reader, as JSON; change nothing.

    Clicks and showings with their times and articles, preferences, profile and front page, and when
    the reader was erased. What the topics still hold is not looked for.
    """
    found = with_redis(read_settings(os.environ), lambda client: read_reader(client, user))
    click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
