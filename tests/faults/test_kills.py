"""A worker that is killed at any moment loses nothing and invents nothing."""

import os
import random
import signal
import time
from pathlib import Path

from schemas.reading_set import ReadingSet
from tests.e2e.installation import installation
from tests.faults.conftest import Pick
from tests.faults.load import Load
from tests.faults.outcome import Undisturbed, check_outcome
from tests.faults.work import wait_for_work
from tests.kafka_broker import TestBroker

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
            for number in range(pick(2, 50)):
                # Small batches, so that there is always one in progress.
                worker = site.start_worker(batch_size=50)
                if number % 4 == 1:  # at its start, or when it joins
                    time.sleep(draw.uniform(0.0, LIFE_S))
                else:
                    wait_for_work(site, worker)
                    time.sleep(draw.uniform(0.0, WORK_S))
                assert worker.is_alive()
                os.kill(worker.pid, signal.SIGKILL)
        last = site.start_worker()
        check_outcome(site, undisturbed, load.sent())
        assert last.is_alive()
