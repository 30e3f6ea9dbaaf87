"""The local stack on its real servers: they answer, carry messages, and never outlive us."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType

from schemas.topics import Topics
from worker.local.broker import TopicError, create_topics, start_broker
from worker.local.redis_server import redis_cli_path, start_redis
from worker.local.server import RunningServer, ServerError, free_port, launch

REPOSITORY = Path(__file__).resolve().parents[2]

# A parent that starts both servers, says so, and then behaves as the test asks.
PARENT = """
import json, os, signal, sys, time
from pathlib import Path
from worker.local.broker import start_broker
from worker.local.redis_server import start_redis

with start_redis(Path(sys.argv[1])) as redis, start_broker(Path(sys.argv[1])) as broker:
    print(json.dumps([[s.pid, s.guard_pid] for s in (redis, broker)]), flush=True)
    if sys.argv[2] == "leave":
        os._exit(0)  # no `with` block is left, nothing is flushed or closed
    if sys.argv[2] == "fork" and os.fork() == 0:
        signal.pause()  # a child that keeps its copy of the guards' pipes open
    request = sys.stdin.readline()
    if request == "raise\\n":
        raise RuntimeError("the parent failed")
    if request == "ask whether both live\\n":
        print(json.dumps([redis.is_alive(), broker.is_alive()]), flush=True)
"""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with start_broker(tmp_path_factory.mktemp("broker")) as server:
        yield server


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[Callable[[str], tuple[subprocess.Popen[str], list[int]]]]:
    """Start a parent in a process group of its own; return it and the pids it answers for."""
    parents: list[subprocess.Popen[str]] = []

    def start(behaviour: str = "wait") -> tuple[subprocess.Popen[str], list[int]]:
        process = subprocess.Popen(
            [sys.executable, "-c", PARENT, str(tmp_path), behaviour],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        parents.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        return process, [pid for pair in json.loads(line) for pid in pair]

    yield start
    for process in parents:
        process.kill()
        process.communicate()


def test_redis_answers_ping_and_its_log_is_in_the_data_directory(tmp_path: Path) -> None:
    with start_redis(tmp_path) as server:
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()
        assert server.log_path.parent == tmp_path
        assert "Ready to accept connections" in server.log_path.read_text()


def test_redis_cli_as_printed_reads_what_was_written(tmp_path: Path) -> None:
    cli = redis_cli_path()
    if cli is None:
        pytest.skip("no redis-cli: this Python's Redis package carries none")
    with start_redis(tmp_path) as server:
        with redis.Redis.from_url(server.url) as client:
            client.set("profile:u1", "someone")
        printed = [str(cli), "-p", str(server.port), "get", "profile:u1"]
        assert subprocess.check_output(printed, text=True).strip() == "someone"


def test_broker_answers_a_metadata_request(broker: RunningServer) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    assert len(admin.list_topics(timeout=5).brokers) == 1
    assert broker.is_alive()


def test_a_message_comes_back_with_its_key_headers_and_timestamp(broker: RunningServer) -> None:
    create_topics(broker.bootstrap_servers, {"round-trip": 1})
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    headers: list[tuple[str, str | bytes | None]] = [("reason", b"malformed"), ("reason", b"late")]
    producer.produce("round-trip", b"value", b"key", timestamp=1_700_000_000_000, headers=headers)
    assert producer.flush(10) == 0
    message = consume_one(broker.bootstrap_servers, "round-trip")
    assert (message.key(), message.value(), message.headers()) == (b"key", b"value", headers)
    assert message.timestamp()[1] == 1_700_000_000_000


def test_a_message_over_one_megabyte_is_carried(broker: RunningServer) -> None:
    create_topics(broker.bootstrap_servers, {"large": 1})
    producer = Producer(
        {"bootstrap.servers": broker.bootstrap_servers, "message.max.bytes": 4_000_000}
    )
    producer.produce("large", bytes(2_000_000))
    assert producer.flush(10) == 0
    assert len(consume_one(broker.bootstrap_servers, "large").value()) == 2_000_000


def test_creating_topics_again_changes_nothing(broker: RunningServer) -> None:
    wanted = {"again": 3, "again-too": 1}
    assert create_topics(broker.bootstrap_servers, wanted) == wanted
    assert create_topics(broker.bootstrap_servers, {"again": 5, "again-too": 1}) == wanted


def test_a_topic_keeps_its_settings(broker: RunningServer) -> None:
    settings = {"compacted": {"cleanup.policy": "compact"}}
    create_topics(broker.bootstrap_servers, {"compacted": 2}, config=settings)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    resource = ConfigResource(ResourceType.TOPIC, "compacted")
    described = admin.describe_configs([resource])[resource].result(5)
    assert described["cleanup.policy"].value == "compact"


def test_topics_on_a_port_where_nothing_listens_fail_in_one_line() -> None:
    with pytest.raises(TopicError, match=r"^topics on 127\.0\.0\.1:\d+: [^\n]+$"):
        create_topics(f"127.0.0.1:{free_port()}", {"never": 1}, timeout_s=0.5)


def test_a_port_in_use_is_reported_with_the_log_and_its_last_line(tmp_path: Path) -> None:
    with start_redis(tmp_path) as server:
        with pytest.raises(ServerError, match=r"^redis ended while .*redis\.log ends: [^\n]+$"):
            start_redis(tmp_path, port=server.port)
        assert server.is_alive()


def test_a_server_that_never_answers_is_stopped_and_reported(tmp_path: Path) -> None:
    silent = "import signal; print('mute', flush=True); signal.pause()"
    command = [sys.executable, "-c", silent]
    with pytest.raises(ServerError, match=r"did not answer .* within 0\.5 s; .* ends: mute$"):
        launch(
            "silent",
            "tcp",
            tmp_path,
            command=lambda _port: command,
            answers=lambda _port, _pid: True,
            timeout_s=0.5,
        )


def test_stop_returns_when_the_server_and_its_guard_are_gone(tmp_path: Path) -> None:
    server = start_redis(tmp_path)
    server.stop()
    assert not server.is_alive()
    assert [pid for pid in (server.pid, server.guard_pid) if is_running(pid)] == []
    server.stop()


def test_a_server_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    stubborn = (
        "import signal, socket, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); signal.pause()"
    )
    server = launch(
        "stubborn",
        "tcp",
        tmp_path,
        command=lambda port: [sys.executable, "-c", stubborn, str(port)],
        answers=lambda _port, _pid: True,
        grace_s=0.1,
    )
    server.stop()
    assert not is_running(server.pid)


def test_the_broker_stops_at_once_though_a_client_stays_connected(tmp_path: Path) -> None:
    server = start_broker(tmp_path)
    admin = AdminClient({"bootstrap.servers": server.bootstrap_servers, "log_level": 0})
    admin.list_topics(timeout=5)
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 3.0
    assert not is_running(server.pid)


@pytest.mark.parametrize("behaviour", ["return", "raise"])
def test_no_orphan_when_the_parent_ends_by_itself(parent: Any, behaviour: str) -> None:
    process, pids = parent()
    process.communicate(f"{behaviour}\n")
    assert process.returncode == (1 if behaviour == "raise" else 0)
    assert [pid for pid in pids if is_running(pid)] == []


def test_no_orphan_when_the_parent_exits_without_cleaning_up(parent: Any) -> None:
    process, pids = parent("leave")
    process.wait()
    wait_until_gone(pids)


def test_no_orphan_after_ctrl_c(parent: Any) -> None:
    process, pids = parent()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole process group
    assert "KeyboardInterrupt" in process.communicate()[1]
    assert [pid for pid in pids if is_running(pid)] == []


def test_ctrl_c_does_not_reach_the_servers_themselves(parent: Any) -> None:
    process, pids = parent()
    assert {os.getsid(pid) for pid in pids}.isdisjoint({process.pid, os.getsid(0)})


def test_no_orphan_after_kill_9_of_the_parent(parent: Any) -> None:
    process, pids = parent()
    process.kill()
    wait_until_gone(pids)


def test_no_orphan_after_kill_9_of_a_parent_whose_child_lives_on(parent: Any) -> None:
    process, pids = parent("fork")
    try:
        process.kill()
        wait_until_gone(pids)
    finally:
        os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs PR_SET_PDEATHSIG")
def test_no_orphan_after_kill_9_of_the_guards(parent: Any) -> None:
    process, (redis_pid, redis_guard, broker_pid, broker_guard) = parent()
    os.kill(redis_guard, signal.SIGKILL)
    os.kill(broker_guard, signal.SIGKILL)
    wait_until_gone([redis_pid, broker_pid])
    assert json.loads(process.communicate("ask whether both live\n")[0]) == [False, False]


def test_the_compose_file_creates_the_topics_of_the_contract() -> None:
    compose = (REPOSITORY / "docker-compose.yml").read_text()
    created = dict(re.findall(r"^ +create ([\w-]+)(?: --config (\S+))?$", compose, re.MULTILINE))
    topics = Topics()
    wanted = {
        name: ",".join(f"{key}={value}" for key, value in topics.config(name).items())
        for name in topics.all()
    }
    assert created == wanted


def consume_one(bootstrap_servers: str, topic: str) -> Any:
    """Read the first message of partition 0 within 10 s, without a group."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "unused"})
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        message = consumer.poll(10)
        assert message is not None
        assert message.error() is None
        return message
    finally:
        consumer.close()


def is_running(pid: int) -> bool:
    """Tell whether the process exists and is not a zombie that its new parent has not reaped."""
    try:
        os.kill(pid, 0)
        if not Path("/proc/self/stat").exists():  # macOS
            return True
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def wait_until_gone(pids: list[int], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while left := [pid for pid in pids if is_running(pid)]:
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.02)
