"""The tests' own broker: real Apache Kafka that never outlives its test."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_local_stack import REPOSITORY, wait_until_gone
from tests.kafka_broker import BrokerUnavailableError, TestBroker, kafka_broker

# A test run that dies while its broker is up.
DYING = """
import os, signal, sys
from pathlib import Path
from tests.kafka_broker import kafka_broker
with kafka_broker(Path(sys.argv[1])):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestBroker]:
    with kafka_broker(tmp_path_factory.mktemp("own")) as broker:
        if not broker.can_lose_a_broker:
            pytest.skip(f"needs an Apache Kafka of its own, and this is {broker.kind}")
        yield broker


def test_no_broker_outlives_a_test_run_killed_with_9(
    own_broker: TestBroker, tmp_path: Path
) -> None:
    assert own_broker.kind.startswith("apache-kafka")
    command = [sys.executable, "-c", DYING, str(tmp_path)]
    assert subprocess.run(command, cwd=REPOSITORY).returncode == -signal.SIGKILL
    state = json.loads((tmp_path / "kafka" / "cluster.json").read_text())
    wait_until_gone([broker["pid"] for broker in state["brokers"]], timeout_s=30)


def test_ci_refuses_to_run_without_apache_kafka(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("FRONTPAGE_KAFKA_HOME", str(tmp_path))
    monkeypatch.delenv("FRONTPAGE_TEST_KAFKA", raising=False)
    with (
        pytest.raises(BrokerUnavailableError, match="is missing"),
        kafka_broker(tmp_path / "data"),
    ):
        pass
