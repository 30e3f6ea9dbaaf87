"""The `frontpage` console script: finds its subcommands by entry point, prints errors in one line.

Exit codes: 0 done, 1 an error of frontpage's (`FrontpageError`), 2 wrong usage, 130 interrupted.
"""

import sys
from importlib.metadata import EntryPoint, entry_points

import click

from schemas.errors import FrontpageError

GROUP = "frontpage.commands"


class Commands(click.Group):
    """Subcommands of every installed part, each imported only when it is called for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names in alphabetical order."""
        return sorted(_found())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return a subcommand."""
        point = _found().get(cmd_name)
        if point is None:
            return None
        command = point.load()
        assert isinstance(command, click.Command)
        return command


def _found() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="frontpage")
def frontpage() -> None:
    """From a click to a front page of one's own."""


def main() -> None:
    """Run the console script."""
    try:
        code = frontpage.main(standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except FrontpageError as error:
        click.echo(f"frontpage: {error}", err=True)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
