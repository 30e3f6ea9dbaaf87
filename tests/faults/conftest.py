"""What the fault scenarios share: how large they are, and what would come out undisturbed."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from tests.faults.outcome import Undisturbed

LONG_TIMEOUT_S = 4 * 3600

Number = TypeVar("Number", int, float)
Pick = Callable[[Number, Number], Number]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let long scenarios take long."""
    if config.getoption("--long"):
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.timeout(LONG_TIMEOUT_S))


@pytest.fixture
def pick(request: pytest.FixtureRequest) -> Pick[float]:
    """Choose of two numbers that of the short version or that of the long one (`--long`)."""
    is_long = request.config.getoption("--long")
    return lambda short, long: long if is_long else short


@pytest.fixture(scope="session")
def undisturbed(bundle: Path, newsroom: Path) -> Undisturbed:
    """What follows from clicks if nothing breaks."""
    return Undisturbed(bundle, newsroom)
