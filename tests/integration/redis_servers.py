"""Real Redis servers for the store tests: one alone, and a cluster of three."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis

from worker.local.redis_server import redis_server_path
from worker.local.server import free_port, spawn

SLOTS = 16384


@contextmanager
def redis_cluster(directory: Path) -> Iterator[str]:
    """Give the URL of a node of a cluster of three masters."""
    with ExitStack() as stack:
        ports = [_start_node(stack, directory / str(node)) for node in range(3)]
        nodes = [redis.Redis(port=port) for port in ports]
        stack.callback(lambda: [node.close() for node in nodes])
        for number, node in enumerate(nodes):
            start, end = SLOTS * number // 3, SLOTS * (number + 1) // 3 - 1
            node.execute_command("CLUSTER", "ADDSLOTS", *range(start, end + 1))
            node.execute_command("CLUSTER", "MEET", "127.0.0.1", ports[0])
        deadline = time.monotonic() + 30
        while not all(_is_whole(node) for node in nodes):
            assert time.monotonic() < deadline, "the cluster did not form"
            time.sleep(0.05)
        yield f"redis://127.0.0.1:{ports[0]}"


def _start_node(stack: ExitStack, directory: Path) -> int:
    directory.mkdir(parents=True)
    port = _port_with_bus()
    command = [str(redis_server_path(directory)), "--port", str(port), "--bind", "127.0.0.1"]
    command += ["--dir", str(directory), "--save", "", "--cluster-enabled", "yes"]
    command += ["--cluster-node-timeout", "2000"]
    stack.enter_context(spawn("redis", "redis", command, port, directory / "redis.log"))
    client = redis.Redis(port=port)
    deadline = time.monotonic() + 15
    while True:
        try:
            client.ping()
            client.close()
            return port
        except redis.exceptions.ConnectionError:
            assert time.monotonic() < deadline, "a cluster node did not start"
            time.sleep(0.02)


def _port_with_bus() -> int:
    # A node's bus listens 10,000 ports above, which must be a port, too.
    while (port := free_port()) > 55_000:
        pass
    return port


def _is_whole(node: "redis.Redis") -> bool:
    info = node.execute_command("CLUSTER", "INFO")
    text = info.decode() if isinstance(info, bytes) else str(info)
    return "cluster_state:ok" in text and "cluster_known_nodes:3" in text
