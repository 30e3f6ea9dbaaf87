"""The bundles that contestants serve: trained for one epoch, once, and kept.

What a model costs does not depend on how good it is; what it is made of is as shipped.
"""

import subprocess
import sys
from pathlib import Path

from schemas.bundle import MANIFEST_FILE
from schemas.errors import FrontpageError

TWO_STAGE = "two-stage"
REFERENCE = "reference"


class Models:
    """Give a bundle of an architecture, training it the first time.

    directory: where they are kept. given: a bundle of the user's, used as the two-stage one.
    """

    def __init__(self, directory: Path, given: Path | None = None) -> None:
        self._directory = directory
        self._given = given

    def bundle(self, architecture: str) -> Path:
        """Return the directory of the bundle."""
        if architecture == TWO_STAGE and self._given is not None:
            return self._given
        path = self._directory / architecture
        if not (path / MANIFEST_FILE).exists():
            newsroom = self._directory / "newsroom"
            if not (newsroom / "dataset.json").exists():
                _frontpage("generate", str(newsroom), "--articles", "400", "--readers", "300")
            chosen = ("--architecture", architecture, "--epochs", "1", "--no-measure")
            _frontpage("train", str(newsroom), "--out", str(path), *chosen)
        return path


def _frontpage(*arguments: str) -> None:
    """Run a subcommand in a process of its own: torch is not to be in the measuring one."""
    result = subprocess.run([sys.executable, "-m", "worker.cli", *arguments], check=False)
    if result.returncode:
        raise FrontpageError(f"`frontpage {arguments[0]}` failed with {result.returncode}")
