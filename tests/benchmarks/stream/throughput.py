"""One contestant, one preloaded topic: clicks a second, CPU, memory, what Redis had to do."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import redis

from schemas.errors import UnavailableError
from tests.benchmarks.stream.contestants import Contestant
from tests.benchmarks.stream.ground import Clicks, Ground, Site
from tests.benchmarks.stream.reader_bytes import ReaderBytes, reader_bytes
from tests.benchmarks.stream.watch import RedisUse, cpu_s, lookups, peak_mb, redis_use
from worker.local.server import RunningServer
from worker.replay import Progress

READY_S = 180.0
"""The first start after a change of the sources compiles for half a minute, more under load."""

STALLED_S = 60.0
"""Longest time without a commit."""

_LOOK_S = 0.01
_ASK_S = 0.05
_FIRST_LOOKUPS = 8
"""Keys looked up within `_WINDOW` looks that say that clicks have come; following takes four."""

_WINDOW = 5


@dataclass(frozen=True)
class Run:
    """What one run of a contestant took."""

    contestant: str
    num_clicks: int
    seconds: float
    """From the first fetch to the last commit."""
    cpu_s: float
    """Of the process, in that time."""
    peak_mb: float
    start_s: float
    """From the start of the process to the first fetch."""
    redis: RedisUse
    reader_bytes: ReaderBytes | None
    profile: "Profile | None" = None

    @property
    def clicks_per_s(self) -> float:
        """Return the throughput."""
        return self.num_clicks / self.seconds

    @property
    def us_per_click(self) -> float:
        """Return CPU microseconds per click."""
        return self.cpu_s / self.num_clicks * 1e6


@dataclass(frozen=True)
class Profile:
    """Where the CPU time of a run went, by `profiled.py`, and how often what was called."""

    stages_us: dict[str, float]
    """Microseconds per click by stage."""
    threads_us: dict[str, float]
    """The same by kind of thread."""
    calls: dict[str, int]
    missing: list[str]
    """Functions that were to be counted and are no more."""


def run(
    ground: Ground,
    contestant: Contestant,
    clicks: Clicks,
    catalogue: Path,
    bundle: Path,
    *,
    profiled: bool = False,
    look: Callable[[redis.Redis], None] = lambda _: None,
) -> Run:
    """Let a contestant work off the topic.

    profiled: whether stages are counted, which costs some time itself.
    look: is given the Redis when everything is done.

    Raises:
        UnavailableError: when it ends, or stalls.
    """
    with ground.site(clicks.topic, catalogue, bundle) as site:
        notes = site.directory / "stages.jsonl"
        launcher = ["-m", "tests.benchmarks.stream.profiled", str(notes)] if profiled else []
        arguments = [*launcher, *contestant.arguments]
        began = time.monotonic()
        worker = site.start("worker", arguments)
        try:
            wait_for_catalogue(worker)
            before, first = _wait_for_first_fetch(site, worker)
            fetched = time.monotonic()
            if profiled:
                os.kill(worker.pid, signal.SIGRTMIN)
            wait_for_commits(site, clicks, [worker])
            committed = time.monotonic()
            used = cpu_s(worker.pid) - before
            profile = _profile(worker, notes, clicks.num_clicks) if profiled else None
            after = redis_use(site.redis)
            look(site.redis)
            return Run(
                contestant.name,
                clicks.num_clicks,
                committed - fetched,
                used,
                peak_mb(worker.pid),
                fetched - began,
                after.since(first),
                reader_bytes(site.redis),
                profile,
            )
        finally:
            worker.stop()


def check(worker: RunningServer) -> None:
    """Fail unless a contestant still runs.

    Raises:
        UnavailableError: quotes the last line of its log, which goes with the run.
    """
    if not worker.is_alive():
        log = worker.log_path.read_text(errors="replace").strip()
        raise UnavailableError(f"{worker.name} ended: {log.rpartition(chr(10))[2] or 'no log'}")


def _profile(worker: RunningServer, notes: Path, num_clicks: int) -> Profile:
    """Ask for the second note, and return what lies between the two."""
    os.kill(worker.pid, signal.SIGRTMIN)
    deadline = time.monotonic() + READY_S
    while len(lines := notes.read_bytes().splitlines() if notes.exists() else []) < 2:
        check(worker)
        if time.monotonic() > deadline:
            raise UnavailableError("the profiled contestant does not answer")
        time.sleep(_ASK_S)
    first, second = (msgspec.json.decode(line) for line in lines)
    seconds, threads = (
        {
            name: (value - first[kind].get(name, 0.0)) / num_clicks * 1e6
            for name, value in second[kind].items()
        }
        for kind in ("seconds", "threads")
    )
    calls = {name: n - first["calls"].get(name, 0) for name, n in second["calls"].items()}
    return Profile(seconds, threads, calls, second["missing"])


def wait_for_catalogue(worker: RunningServer) -> None:
    """Wait until a contestant says that it knows its articles."""
    deadline = time.monotonic() + READY_S
    while b"catalogue: " not in worker.log_path.read_bytes():
        check(worker)
        if time.monotonic() > deadline:
            raise UnavailableError(f"{worker.name} is not ready after {READY_S:.0f} s")
        time.sleep(_LOOK_S)


def _wait_for_first_fetch(site: Site, worker: RunningServer) -> tuple[float, RedisUse]:
    """Return what the worker and Redis had used then.

    A contestant that has fetched clicks looks up their readers next; that is seen in Redis.
    """
    deadline = time.monotonic() + READY_S
    counts = [lookups(site.redis)]
    while True:
        used = cpu_s(worker.pid)
        use = redis_use(site.redis)
        counts = [*counts[-_WINDOW:], use.lookups]
        if counts[-1] - counts[0] >= _FIRST_LOOKUPS:
            return used, use
        check(worker)
        if time.monotonic() > deadline:
            raise UnavailableError(f"no click fetched after {READY_S:.0f} s")
        time.sleep(_LOOK_S)


def wait_for_commits(site: Site, clicks: Clicks, workers: list[RunningServer]) -> None:
    """Wait until everything on the topic is committed.

    Raises:
        UnavailableError: when a worker ends, or nothing is committed for long.
    """
    settings = site.settings
    config = {"bootstrap.servers": settings.kafka_bootstrap}
    progress = Progress(config, settings.app_id, clicks.ends)
    left, changed = clicks.num_clicks, time.monotonic()
    try:
        while now_left := progress.num_left():
            if now_left != left:
                left, changed = now_left, time.monotonic()
            for worker in workers:
                check(worker)
            if time.monotonic() - changed > STALLED_S:
                raise UnavailableError(f"stalled with {left:,} clicks left")
            time.sleep(_ASK_S)
    finally:
        progress.close()
