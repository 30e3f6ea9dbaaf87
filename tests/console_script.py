"""What stands in the place of `frontpage` where a test runs commands as documents write them."""

import stat
import sys
from pathlib import Path

# One epoch and 500 ranked clicks: what a model is worth is measured elsewhere.
_SCRIPT = """#!/bin/sh
command="$1"; shift
case "$command" in
  train) set -- "$@" --epochs 1 --no-measure ;;
  retrain) set -- "$@" --config "{config}" ;;
  evaluate-stream|train-blend) set -- "$@" --limit 500 ;;
esac
exec "{python}" -m worker.cli "$command" "$@"
"""


def write_program(path: Path, text: str) -> None:
    """Write a program that can be run."""
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def write_console_script(directory: Path) -> None:
    """Make a directory with a `frontpage` that does little of what takes long."""
    directory.mkdir()
    config = directory / "quick.toml"
    config.write_text("epochs = 1\n")
    write_program(directory / "frontpage", _SCRIPT.format(config=config, python=sys.executable))
