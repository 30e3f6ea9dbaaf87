"""Half of the maximum rate for half an hour: memory stays, and no lag is left."""

import time
from contextlib import ExitStack
from pathlib import Path
from statistics import fmean

import pytest

from schemas.reading_set import ReadingSet
from tests.e2e.installation import installation
from tests.faults.load import Load
from tests.faults.outcome import Undisturbed, check_outcome
from tests.kafka_broker import TestBroker
from worker.local.server import RunningServer
from worker.replay import Progress

BURST_RATE = 20_000
BURST_S = 5.0
NUM_READERS = 100_000
"""So many that no history is full at the end: the maximum is measured with short ones, and a page
for a full one (512 clicks) costs several times as much."""
MOST_GROWTH = 0.05
SETTLED_MINUTES = 5.0
"""Of a shorter soak the last third is not compared: a worker's memory grows while it gets going."""

SAMPLES = 60


def test_a_soak_at_half_of_the_maximum_rate_leaves_no_lag_and_memory_flat(
    kafka: TestBroker,
    bundle: Path,
    newsroom: Path,
    tmp_path: Path,
    undisturbed: Undisturbed,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if not request.config.getoption("--long"):
        pytest.skip("a soak of seconds shows nothing: see `make soak`")
    minutes = request.config.getoption("--minutes")
    with installation(kafka.bootstrap_servers, bundle, tmp_path) as site, ExitStack() as stack:
        site.replay().articles(ReadingSet(newsroom))
        load = Load(
            site,
            undisturbed.article_ids,
            undisturbed.begin_ms,
            rate=BURST_RATE,
            num_readers=NUM_READERS,
        )
        with load:
            time.sleep(BURST_S)
        # Sees the ends move, as the dictionary is the one that the load writes to.
        progress = Progress(site.client_config, site.settings.app_id, site.ends)
        stack.callback(progress.close)
        worker = site.start_worker()
        most_per_s = measure_catching_up(progress)
        load.rate = most_per_s / 2
        memory_mb, lags = [], []
        with load:
            for _ in range(SAMPLES):
                time.sleep(minutes * 60 / SAMPLES)
                memory_mb.append(resident_mb(worker))
                lags.append(progress.num_left())
        third = SAMPLES // 3
        second, last = fmean(memory_mb[third : 2 * third]), fmean(memory_mb[2 * third :])
        with capsys.disabled():
            print(  # noqa: T201
                f"\nsoak of {minutes:g} minutes: {most_per_s:.0f} clicks/s at most, "
                f"{load.rate:.0f} published; memory MB {memory_mb[0]:.0f} … "
                f"{second:.1f} (second third) … "
                f"{last:.1f} (last third, {last / second - 1:+.1%}); lag at most {max(lags)}, "
                f"mean {fmean(lags):.0f}; every sample: {[round(mb) for mb in memory_mb]}"
            )
        assert max(lags) < load.rate * 60, "the worker did not keep up"
        if minutes >= SETTLED_MINUTES:
            assert last < second * (1 + MOST_GROWTH)
        check_outcome(site, undisturbed, load.sent(), timeout_s=300.0)
        assert worker.is_alive()


def measure_catching_up(progress: Progress) -> float:
    """Return the clicks a second that a worker takes of what has piled up, once it has begun."""
    total, began = progress.num_left(), 0.0
    while left := progress.num_left():
        if not began and left < total:
            total, began = left, time.monotonic()
        time.sleep(0.05)
    assert began, "too few clicks to measure with"
    return total / (time.monotonic() - began)


def resident_mb(worker: RunningServer) -> float:
    """Return the memory that a process holds, where the system tells."""
    status = Path(f"/proc/{worker.pid}/status")
    if not status.exists():
        pytest.skip("this system does not tell what memory a process holds")
    line = next(each for each in status.read_text().splitlines() if each.startswith("VmRSS"))
    return int(line.split()[1]) / 1024
