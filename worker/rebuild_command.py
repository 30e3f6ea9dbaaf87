"""`frontpage rebuild`: let the workers build what Redis held anew, from the topics."""

import os
from contextlib import closing
from typing import Any

import click
import msgspec

from schemas.errors import UnavailableError
from schemas.timestamps import from_ms
from worker.commands import with_redis
from worker.redis_client import Client, check
from worker.settings import read_settings
from worker.snapshot_command import Moment


@click.command()
@click.option(
    "--since",
    "since_ms",
    type=Moment(),
    help="Read clicks and impressions again from this time on only; all else from the beginning.",
)
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="SECONDS",
    help="Wait so long for the workers to stop.",
)
@click.option(
    "--incomplete",
    is_flag=True,
    help="Go on although the topics do not reach back to their beginning, or to --since.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be read again.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def rebuild(
    since_ms: int | None, wait_s: float, incomplete: bool, dry_run: bool, as_json: bool
) -> None:
    """Build what Redis held anew, from the topics: after Redis came back empty.

    Stop the workers, run this, start the workers: they read articles, clicks, impressions and
    preferences again, from the beginning. This command itself puts erasures and preferences into
    Redis, so that no erased reader comes back for a moment. Histories and profiles end as they
    were. What Redis does hold stays, and does no harm: with --since a minute before it lost its
    latest writes, it is brought up to date.

    Profiles and front pages are sent to Kafka once more, and bad messages become dead letters once
    more.
    """
    # Imported here: the Kafka clients take long to import.
    from worker.consumer_group import ConsumerGroup
    from worker.rebuild import mark, plan, sources
    from worker.snapshot_reader import TopicReader

    settings = read_settings(os.environ)
    group = ConsumerGroup(settings)
    if not dry_run:
        group.wait_until_empty(wait_s)
    with_redis(settings, check)
    with closing(TopicReader(settings)) as reader:
        places = [
            (topic, partition)
            for topic, partitions in reader.find(sources(settings.topics)).items()
            for partition in partitions
        ]
        found = plan(settings, reader, group.committed(places), since_ms)
        if (cut := found.cut()) and not (incomplete or dry_run):
            raise UnavailableError(f"{_what_is_gone(cut)}; --incomplete goes on without it")
        num_keys = with_redis(settings, _num_keys)
        report: dict[str, Any] = {
            "messages": found.num_messages(),
            "keys_in_redis": num_keys,
            "cut": {topic: None if ms is None else from_ms(ms) for topic, ms in cut.items()},
            "dry_run": dry_run,
        }
        if not dry_run:
            marked = with_redis(settings, lambda client: mark(client, settings, reader))
            group.move(found.offsets)
            report |= {"erasures": marked.erasures, "preferences": marked.preferences}
    if as_json:
        click.echo(msgspec.json.encode(report))
        return
    for topic, count in report["messages"].items():
        click.echo(f"{topic}: {count:,} messages")
    if cut:
        click.echo(_what_is_gone(cut))
    click.echo(f"keys in Redis: {num_keys:,}" + (", which stay" if num_keys else ""))
    if dry_run:
        click.echo("nothing was changed")
        return
    click.echo(
        f"in Redis now: {marked.erasures:,} erasures, {marked.preferences:,} preferences; "
        f"start the workers of the group {settings.app_id}: they read the rest"
    )


async def _num_keys(client: Client) -> int:
    size: Any = await client.dbsize()
    return int(size)


def _what_is_gone(cut: dict[str, int | None]) -> str:
    parts = [
        f"{topic} has nothing left of a partition"
        if first_ms is None
        else f"{topic} reaches back to {from_ms(first_ms):%Y-%m-%dT%H:%M:%SZ} only"
        for topic, first_ms in cut.items()
    ]
    return f"what came earlier is deleted and cannot be rebuilt: {', '.join(parts)}"
