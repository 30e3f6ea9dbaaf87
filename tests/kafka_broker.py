"""The broker the integration tests run against: real Apache Kafka where there is one.

In this order: the one `FRONTPAGE_TEST_KAFKA` names (bootstrap servers); Apache Kafka started
by the `cluster` script in `FRONTPAGE_KAFKA_HOME` or else in `../shared/kafka` beside the
repository; the embedded one of `worker.local.broker`. With CI=true the last is refused: a
green run must not mean that the real broker was missing.

Apache Kafka's brokers outlive the script that starts them, so they are started and owned by a
small keeper process (this file, run as a program) in a session of its own. It stops them when
its standard input closes, which also happens when pytest is killed with -9.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

REPOSITORY = Path(__file__).resolve().parents[1]
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60


class BrokerUnavailableError(RuntimeError):
    """The machine cannot give the broker that a test asks for."""


@dataclass(frozen=True)
class TestBroker:
    """A running broker or cluster; brokers are numbered from 1."""

    __test__: ClassVar[bool] = False  # not a class of tests, whatever its name says

    kind: str
    bootstrap_servers: str
    facts: dict[str, str] = field(default_factory=dict, repr=False)
    """What the cluster script says of it: with security also mechanism, username, password."""
    _cluster: Path | None = field(default=None, repr=False, kw_only=True)
    _data_dir: Path | None = field(default=None, repr=False, kw_only=True)

    @property
    def can_lose_a_broker(self) -> bool:
        """Tell whether `kill` and `restart` work."""
        return self._cluster is not None

    def kill(self, broker: int) -> None:
        """End a broker with SIGKILL, as a crash would."""
        self._command("kill", broker)

    def restart(self, broker: int) -> None:
        """Start a killed broker again on its own data; return when it serves clients."""
        self._command("restart", broker)

    def _command(self, verb: str, broker: int) -> None:
        if self._cluster is None or self._data_dir is None:
            raise BrokerUnavailableError(f"{verb} needs Apache Kafka, and this is {self.kind}")
        done = subprocess.run(
            [sys.executable, str(self._cluster), verb, str(self._data_dir), str(broker)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT_S,
        )
        if done.returncode != 0:
            raise BrokerUnavailableError(f"{verb} {broker}: {done.stderr.strip()}")


@contextlib.contextmanager
def kafka_broker(
    tmp_dir: Path, brokers: int = 1, security: str = "plaintext"
) -> Iterator[TestBroker]:
    """Give a broker, or a cluster of `brokers`, and stop what was started in any case.

    Raises: BrokerUnavailableError when only Apache Kafka will do and there is none.
    """
    cluster = _cluster_script()
    external = os.environ.get("FRONTPAGE_TEST_KAFKA")
    if external and security == "plaintext":
        yield TestBroker("external", external)
    elif cluster.is_file():
        with _apache_kafka(cluster, tmp_dir.resolve() / "kafka", brokers, security) as broker:
            yield broker
    elif os.environ.get("CI") == "true":
        raise BrokerUnavailableError(f"CI needs Apache Kafka: {cluster} is missing")
    elif brokers > 1 or security != "plaintext":
        raise BrokerUnavailableError("several brokers, or one with security, need Apache Kafka")
    else:
        from worker.local.broker import NAME, start_broker

        with start_broker(tmp_dir) as server:
            yield TestBroker(f"embedded {NAME}", server.bootstrap_servers)


def _cluster_script() -> Path:
    home = os.environ.get("FRONTPAGE_KAFKA_HOME")
    return (Path(home) if home else REPOSITORY.parent / "shared" / "kafka") / "cluster"


@contextlib.contextmanager
def _apache_kafka(
    cluster: Path, data_dir: Path, brokers: int, security: str
) -> Iterator[TestBroker]:
    keeper = subprocess.Popen(
        [sys.executable, __file__, str(cluster), str(data_dir), str(brokers), security],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert keeper.stdout is not None
        started = keeper.stdout.readline()
        if not started:
            raise BrokerUnavailableError(keeper.communicate()[1].strip())
        facts = json.loads(started)
        yield TestBroker(
            f"apache-kafka {_version(cluster)}",
            facts["bootstrap_servers"],
            facts,
            _cluster=cluster,
            _data_dir=data_dir,
        )
    finally:
        try:
            keeper.communicate(timeout=STOP_TIMEOUT_S)  # closes its standard input
        except subprocess.TimeoutExpired:
            keeper.kill()
            keeper.communicate()
        _kill_brokers(data_dir)


def _version(cluster: Path) -> str:
    jar = next((cluster.parent / "lib").glob("kafka-clients-*.jar"), None)
    return jar.stem.removeprefix("kafka-clients-") if jar else "of unknown version"


def _kill_brokers(data_dir: Path) -> None:
    """End with SIGKILL every broker of the cluster that is still there: the last resort."""
    with contextlib.suppress(FileNotFoundError):
        for broker in json.loads((data_dir / "cluster.json").read_text())["brokers"]:
            if _is_broker_of(broker["pid"], data_dir):
                os.kill(broker["pid"], signal.SIGKILL)


def _is_broker_of(pid: int, data_dir: Path) -> bool:
    """Tell whether the process is that cluster's: the number may be another process's by now."""
    try:
        return os.fsencode(data_dir) in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def keep(cluster: str, data_dir: str, brokers: str, security: str) -> int:
    """Start the cluster, hand on its one line of JSON, and stop it at end of file."""
    script = [sys.executable, cluster]
    try:
        start = subprocess.run(
            [*script, "start", data_dir, "--brokers", brokers, "--security", security],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        if start.returncode == 0:
            with contextlib.suppress(BrokenPipeError):  # pytest is gone already
                os.write(1, start.stdout)
            sys.stdin.read()
    finally:
        subprocess.run([*script, "stop", data_dir], stdin=subprocess.DEVNULL)
        _kill_brokers(Path(data_dir))
    return start.returncode


if __name__ == "__main__":
    sys.exit(keep(*sys.argv[1:]))
