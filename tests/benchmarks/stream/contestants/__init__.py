"""Who is compared: what to run, and with which model."""

import importlib.util
from typing import NamedTuple

from tests.benchmarks.stream.models import REFERENCE, TWO_STAGE

_HERE = "tests.benchmarks.stream.contestants"


class Contestant(NamedTuple):
    """A program that consumes clicks until SIGTERM, configured as the worker is."""

    name: str
    arguments: list[str]
    """Of Python."""
    model: str = TWO_STAGE
    needs: str | None = None
    """A package that is not a dependency of the project."""

    @property
    def is_installed(self) -> bool:
        """Tell whether it can be run here."""
        return self.needs is None or importlib.util.find_spec(self.needs) is not None


CONTESTANTS = {
    each.name: each
    for each in (
        Contestant("ours", ["-m", "worker.cli", "worker"]),
        Contestant("hand-written", ["-m", f"{_HERE}.hand_written"]),
        Contestant("quix", ["-m", f"{_HERE}.quix"], needs="quixstreams"),
        Contestant("textbook", ["-m", f"{_HERE}.textbook"], REFERENCE),
    )
}
