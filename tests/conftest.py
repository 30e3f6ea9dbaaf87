"""Fixtures that start real parts: Apache Kafka where there is one, Redis, a trained model."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kafka_broker import TestBroker, kafka_broker

KAFKA_KIND = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what `make soak` asks for."""
    parser.addoption("--long", action="store_true", help="fault scenarios at full length")
    parser.addoption(
        "--minutes", type=float, default=30.0, help="of the soak, with --long (default: 30)"
    )


def pytest_configure() -> None:
    """Let Ctrl-C reach what tests start, also where a shell ran pytest in the background."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def kafka(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[TestBroker]:
    """One broker for the whole run."""
    with kafka_broker(tmp_path_factory.mktemp("kafka")) as broker:
        request.config.stash[KAFKA_KIND] = broker.kind
        yield broker


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say which Kafka the tests ran against."""
    kind = config.stash.get(KAFKA_KIND, "none was needed")
    terminalreporter.write_line(f"Kafka: {kind}")


@pytest.fixture(scope="session")
def newsroom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small synthetic newsroom."""
    from export.newsroom import generate_newsroom

    path = tmp_path_factory.mktemp("data") / "newsroom"
    generate_newsroom(path, num_articles=400, num_readers=300, clicks_per_reader_mean=15, seed=7)
    return path


@pytest.fixture(scope="session")
def bundle(newsroom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model trained on the newsroom, for one epoch: real, if not good."""
    path = tmp_path_factory.mktemp("model") / "bundle"
    command = ["train", str(newsroom), "--out", str(path), "--epochs", "1"]
    subprocess.run([sys.executable, "-m", "worker.cli", *command], check=True)
    return path
