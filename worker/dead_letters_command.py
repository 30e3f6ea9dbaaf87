"""The console commands `dead-letters list` and `dead-letters republish`."""

import os
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from typing import Any, TypeVar

import click
import msgspec

from schemas.errors import UnavailableError
from worker.settings import read_settings
from worker.snapshot_command import Moment

Command = TypeVar("Command", bound=Callable[..., None])

FAILURES_SHOWN = 10

_FILTERS = (
    click.option("--reason", "reasons", multiple=True, help="Only of this reason; repeatable."),
    click.option(
        "--topic", "topics", multiple=True, help="Only what came from this topic; repeatable."
    ),
    click.option("--since", "since_ms", type=Moment(), help="Leave out earlier letters."),
    click.option(
        "--until", "until_ms", type=Moment(), help="Leave out letters at this time and later."
    ),
    click.option("--limit", type=click.IntRange(min=1), help="Only the newest so many."),
)


def filters(command: Command) -> Command:
    """Give a command the options that choose letters."""
    for option in reversed(_FILTERS):
        command = option(command)
    return command


@click.group("dead-letters")
def dead_letters() -> None:
    """List the messages that could not be used, and send them again.

    Letters stay on their topic until its retention deletes them, whatever is done here: nothing is
    committed, and no consumer group is joined.
    """


@dead_letters.command("list")
@filters
@click.option(
    "--show-values",
    "contents",
    is_flag=True,
    help="Also print keys and values: personal data of readers.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON Lines for machines.")
def list_letters(contents: bool, as_json: bool, **chosen: Any) -> None:
    """Print a line for each letter, and how many there are by topic and reason.

    Partition by partition up to the end that the topic has now; with --limit by time. A line has
    the time, the reason, where the message came from, and its size. A letter whose headers are not
    a worker's is `unreadable`; its line says where it stands itself. With --json, --show-values
    prints key and value in base64.
    """
    # Imported here, as everywhere below: the Kafka clients take long to import.
    from worker.dead_letters import Wanted, read_letters
    from worker.dead_letters_text import Summary, json_line, line
    from worker.snapshot_reader import TopicReader

    wanted = Wanted(**_checked(chosen))
    settings = read_settings(os.environ)
    summary = Summary()
    with closing(TopicReader(settings)) as reader:
        letters = read_letters(reader, settings.topic_dead_letters, contents=contents)
        for letter in wanted.choose(letters):
            click.echo((json_line if as_json else line)(letter, contents=contents))
            summary.add(letter)
    if not as_json:
        click.echo(summary.text())


@dead_letters.command()
@filters
@click.option("--to", metavar="TOPIC", help="Send to this topic, not to where each came from.")
@click.option(
    "--from-source",
    is_flag=True,
    help="Of truncated letters send the whole, where its topic still has it.",
)
@click.option(
    "--again", is_flag=True, help="Also letters of messages that were republished before."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be sent.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def republish(
    to: str | None,
    from_source: bool,
    again: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Send letters again, with the keys and values that they came with.

    What is still bad becomes a dead letter once more; it is left out from then on, because the
    first letter of it holds the same, unless --again is given. Left out are also truncated letters,
    unless --from-source is given, and unreadable ones.

    A click sent twice counts once. An article that was published anew or withdrawn since then is
    what its letter says again: choose with the options.
    """
    from worker.dead_letters import Wanted, read_letters
    from worker.dead_letters_republish import How, Plan, send_letters
    from worker.snapshot_reader import TopicReader

    wanted = Wanted(**_checked(chosen))
    settings = read_settings(os.environ)
    topic = settings.topic_dead_letters
    if to == topic:
        raise click.UsageError("--to must not be the topic of dead letters itself")
    how = How(to=to, from_source=from_source, again=again)
    with closing(TopicReader(settings)) as reader:
        # Read twice, so that what is held is numbers, and the letters need not fit in memory.
        plan = Plan(wanted.choose(read_letters(reader, topic, contents=False)), how)
        reader.find(plan.targets)
        if dry_run or not plan.places:
            _report(plan.targets, plan.left_out, 0, dry_run=dry_run, as_json=as_json)
            return
        if not yes:
            click.confirm(_question(plan.targets), abort=True, err=True)
        sent, failures = send_letters(settings, reader, plan)
    _report(sent, plan.left_out, len(failures), dry_run=False, as_json=as_json)
    if failures:
        for place, reason in failures[:FAILURES_SHOWN]:
            click.echo(f"not delivered: {place}: {reason}", err=True)
        raise UnavailableError(f"Kafka: letters that were not delivered: {len(failures):,}")


def _checked(chosen: dict[str, Any]) -> dict[str, Any]:
    since_ms, until_ms = chosen["since_ms"], chosen["until_ms"]
    if since_ms is not None and until_ms is not None and since_ms >= until_ms:
        raise click.UsageError("--since must be before --until")
    names = {name: frozenset(chosen[name]) for name in ("reasons", "topics")}
    return {**chosen, **names}


def _question(targets: Counter[str]) -> str:
    return f"Republish {_by_topic(targets)}?"


def _report(
    sent: Counter[str],
    left_out: Counter[str],
    num_failed: int,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    if as_json:
        fields = {"sent": sent, "left_out": left_out, "failed": num_failed, "dry_run": dry_run}
        click.echo(msgspec.json.encode(fields))
        return
    click.echo(f"{'would republish' if dry_run else 'republished'} {_by_topic(sent)}")
    for reason, count in left_out.items():
        click.echo(f"left out: {reason}: {count:,}")


def _by_topic(counts: Counter[str]) -> str:
    from worker.dead_letters_text import letters

    topics = ", ".join(f"{topic} {count:,}" for topic, count in sorted(counts.items()))
    return f"{letters(counts.total())} to {topics}" if topics else letters(0)
