"""A worker that is killed at any moment loses nothing and invents nothing."""

import os
import random
import signal
import time
from pathlib import Path

from schemas import keys
from schemas.reading_set import ReadingSet
from tests.e2e.installation import Installation, installation, wait_until
from tests.faults.conftest import Pick
from tests.faults.load import Load
from tests.faults.outcome import Undisturbed, check_outcome
from tests.kafka_broker import TestBroker
from worker.local.server import RunningServer

SEED = 7
LIFE_S = 8.0
"""About what a worker takes to start and to get the partitions of one that was killed: brokers
wait for the session of the dead one to time out."""

WORK_S = 1.5


def test_a_worker_killed_at_random_moments_loses_nothing(
    kafka: TestBroker,
    bundle: Path,
    newsroom: Path,
    tmp_path: Path,
    undisturbed: Undisturbed,
    pick: Pick[int],
) -> None:
    draw = random.Random(SEED)
    with installation(kafka.bootstrap_servers, bundle, tmp_path) as site:
        site.replay().articles(ReadingSet(newsroom))
        with Load(site, undisturbed.article_ids, undisturbed.begin_ms, rate=pick(400, 300)) as load:
            for number in range(pick(3, 50)):
                # Small batches, so that there is always one in progress.
                worker = site.start_worker(batch_size=50)
                if number % 4 == 3:  # at its start, or when it joins
                    time.sleep(draw.uniform(0.0, LIFE_S))
                else:
                    wait_for_work(site, worker)
                    time.sleep(draw.uniform(0.0, WORK_S))
                assert worker.is_alive()
                os.kill(worker.pid, signal.SIGKILL)
        last = site.start_worker()
        check_outcome(site, undisturbed, load.sent())
        assert last.is_alive()


def wait_for_work(site: Installation, worker: RunningServer) -> None:
    """Wait until clicks are stored by the worker, the only one that runs."""
    before = newest_entry(site)
    wait_until("stored clicks", lambda: not worker.is_alive() or newest_entry(site) != before, 60.0)


def newest_entry(site: Installation) -> object:
    """Return the id of the newest entry of the click log."""
    found = site.redis.xrevrange(keys.CLICK_LOG, count=1)
    return found[0][0] if found else None
