"""What processes take, seen from outside: CPU and memory from /proc, Redis by its own account."""

import os
from pathlib import Path
from typing import NamedTuple

import redis

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Return the user and system time that a process has used, threads included, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def peak_mb(pid: int) -> float:
    """Return the largest resident memory a process has had, in MB of 10^6 bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ProcessLookupError(f"no such process: {pid}")


class RedisUse(NamedTuple):
    """What a Redis has done since its start."""

    commands: int
    """Commands from clients and from scripts."""
    lookups: int
    """Keys looked up."""
    cpu_s: float
    by_command: dict[str, int]

    def since(self, before: "RedisUse") -> "RedisUse":
        """Return what has been done since."""
        return RedisUse(
            self.commands - before.commands,
            self.lookups - before.lookups,
            self.cpu_s - before.cpu_s,
            {
                name: more
                for name, calls in self.by_command.items()
                if (more := calls - before.by_command.get(name, 0))
            },
        )


def redis_use(client: redis.Redis) -> RedisUse:
    """Ask a Redis what it has done."""
    stats = client.info("all")
    calls = {
        name.removeprefix("cmdstat_"): int(counts["calls"])
        for name, counts in stats.items()
        if name.startswith("cmdstat_")
    }
    return RedisUse(
        sum(calls.values()),
        stats["keyspace_hits"] + stats["keyspace_misses"],
        stats["used_cpu_user"] + stats["used_cpu_sys"],
        calls,
    )


def lookups(client: redis.Redis) -> int:
    """Return how many keys a Redis has looked up since its start."""
    stats = client.info("stats")
    return int(stats["keyspace_hits"] + stats["keyspace_misses"])
