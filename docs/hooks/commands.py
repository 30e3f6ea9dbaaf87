"""The page of the commands, from what the console script itself finds."""

from collections.abc import Iterator

import click

from docs.hooks.described import cell
from worker.cli import frontpage


def all_commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command with its full name, such as `dead-letters list`."""
    yield from _below("", frontpage)


def commands_page() -> str:
    """Return the page."""
    lines = [
        "# Commands",
        "",
        "Exit codes: 0 done, 1 an error in one line, 2 wrong usage, 3 `retrain` refused, 130 "
        "interrupted. Generated from the commands themselves.",
    ]
    for name, command in all_commands():
        context = click.Context(command, info_name=f"frontpage {name}")
        usage = " ".join(command.collect_usage_pieces(context))
        lines += ["", f"## frontpage {name}", "", f"`frontpage {name} {usage}`", ""]
        # `\b` keeps a paragraph as it is in a terminal.
        lines += [(command.help or "").replace("\b", "").strip(), ""]
        options = [each for each in command.params if isinstance(each, click.Option)]
        if options:
            lines += ["| option | |", "|---|---|"]
            lines += [_row(option, context) for option in options]
    return "\n".join(lines) + "\n"


def _below(prefix: str, group: click.Group) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _below(f"{prefix}{name} ", command)
        else:
            yield f"{prefix}{name}", command


def _row(option: click.Option, context: click.Context) -> str:
    names, text = option.get_help_record(context) or (", ".join(option.opts), "")
    return f"| `{names.replace('|', '/')}` | {cell(text)} |"
