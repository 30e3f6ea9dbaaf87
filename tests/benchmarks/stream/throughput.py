"""One contestant, one preloaded topic: clicks a second, CPU, memory, what Redis had to do."""

import time
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import UnavailableError
from tests.benchmarks.stream.contestants import Contestant
from tests.benchmarks.stream.ground import Clicks, Ground, Site
from tests.benchmarks.stream.reader_bytes import ReaderBytes, reader_bytes
from tests.benchmarks.stream.watch import RedisUse, cpu_s, lookups, peak_mb, redis_use
from worker.local.server import RunningServer
from worker.replay import Progress

READY_S = 60.0
STALLED_S = 30.0
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
    num_workers: int
    num_clicks: int
    seconds: float
    """From the first fetch to the last commit."""
    cpu_s: float
    """Of all worker processes, in that time."""
    peak_mb: float
    """The largest of them."""
    start_s: float
    """From the start of the process to the first fetch."""
    redis: RedisUse
    reader_bytes: ReaderBytes | None

    @property
    def clicks_per_s(self) -> float:
        """Return the throughput."""
        return self.num_clicks / self.seconds

    @property
    def us_per_click(self) -> float:
        """Return CPU microseconds per click."""
        return self.cpu_s / self.num_clicks * 1e6


def run(
    ground: Ground,
    contestant: Contestant,
    clicks: Clicks,
    catalogue: Path,
    bundle: Path,
    *,
    launcher: list[str] | None = None,
    num_workers: int = 1,
) -> Run:
    """Let a contestant work off the topic.

    launcher: arguments of Python to put before the contestant's.

    Raises:
        UnavailableError: when it ends, or stalls.
    """
    arguments = [*(launcher or []), *contestant.arguments]
    with ground.site(clicks.topic, catalogue, bundle) as site:
        began = time.monotonic()
        workers = [site.start(f"worker-{i}", arguments) for i in range(num_workers)]
        try:
            for worker in workers:
                _wait_for_catalogue(worker)
            before, first = _wait_for_first_fetch(site, workers)
            fetched = time.monotonic()
            _wait_for_last_commit(site, clicks, workers)
            committed = time.monotonic()
            used = sum(cpu_s(worker.pid) for worker in workers) - before
            after = redis_use(site.redis)
            return Run(
                contestant.name,
                num_workers,
                clicks.num_clicks,
                committed - fetched,
                used,
                max(peak_mb(worker.pid) for worker in workers),
                fetched - began,
                after.since(first),
                reader_bytes(site.redis),
            )
        finally:
            for worker in workers:
                worker.stop()


def check(worker: RunningServer) -> None:
    """Fail unless a contestant still runs.

    Raises:
        UnavailableError: quotes the last line of its log, which goes with the run.
    """
    if not worker.is_alive():
        log = worker.log_path.read_text(errors="replace").strip()
        raise UnavailableError(f"{worker.name} ended: {log.rpartition(chr(10))[2] or 'no log'}")


def _wait_for_catalogue(worker: RunningServer) -> None:
    deadline = time.monotonic() + READY_S
    while b"catalogue: " not in worker.log_path.read_bytes():
        check(worker)
        if time.monotonic() > deadline:
            raise UnavailableError(f"{worker.name} is not ready after {READY_S:.0f} s")
        time.sleep(_LOOK_S)


def _wait_for_first_fetch(site: Site, workers: list[RunningServer]) -> tuple[float, RedisUse]:
    """Return what the workers and Redis had used then.

    A contestant that has fetched clicks looks up their readers next; that is seen in Redis.
    """
    deadline = time.monotonic() + READY_S
    counts = [lookups(site.redis)]
    while True:
        used = sum(cpu_s(worker.pid) for worker in workers)
        use = redis_use(site.redis)
        counts = [*counts[-_WINDOW:], use.lookups]
        if counts[-1] - counts[0] >= _FIRST_LOOKUPS:
            return used, use
        for worker in workers:
            check(worker)
        if time.monotonic() > deadline:
            raise UnavailableError(f"no click fetched after {READY_S:.0f} s")
        time.sleep(_LOOK_S)


def _wait_for_last_commit(site: Site, clicks: Clicks, workers: list[RunningServer]) -> None:
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
