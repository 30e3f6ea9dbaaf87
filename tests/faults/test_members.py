"""Workers join and leave under load, and one wakes up after another has taken over."""

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
from tests.faults.work import num_entries, wait_for_work
from tests.kafka_broker import TestBroker

SEED = 11

PILES_UP_S = 2.0
STORED_ENTRIES = range(3, 11)
"""On the click log, of 128 readers each: a part has 512, and a batch about 1,200."""

SETTLES_S = 2.0
"""What a worker that wakes up had in progress is done by then."""


def test_workers_that_join_and_leave_lose_nothing(
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
        stays = site.start_worker(batch_size=50)
        others = [site.start_worker(batch_size=50) for _ in range(2)]
        with Load(site, undisturbed.article_ids, undisturbed.begin_ms, rate=300) as load:
            wait_for_work(site, stays)
            for number in range(pick(3, 40)):
                # At times so short that one rebalance follows the other.
                time.sleep(draw.uniform(0.5, 4.0))
                goes = others.pop(draw.randrange(2))
                os.kill(goes.pid, signal.SIGKILL if number % 2 else signal.SIGTERM)
                others.append(site.start_worker(batch_size=50))
        check_outcome(site, undisturbed, load.sent())
        assert stays.is_alive()
        assert "Crashed" not in stays.log_path.read_text()


def test_a_frozen_worker_does_not_undo_its_successors_work(
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
        load = Load(
            site, undisturbed.article_ids, undisturbed.begin_ms, rate=1000, num_readers=2000
        )
        for _ in range(pick(1, 20)):
            with load:
                # Clicks have piled up: a large batch, which is stored part by part.
                time.sleep(PILES_UP_S)
                enough = num_entries(site) + draw.choice(STORED_ENTRIES)
                freezes = site.start_worker()
                while num_entries(site) < enough:
                    time.sleep(0.001)
                # In the midst of storing, or when all is stored and is about to be sent.
                os.kill(freezes.pid, signal.SIGSTOP)
                successor = site.start_worker()
                wait_for_work(site, successor)
            site.wait_until_stored()
            os.kill(freezes.pid, signal.SIGCONT)
            time.sleep(SETTLES_S)
            check_outcome(site, undisturbed, load.sent())
            for worker in (freezes, successor):
                assert worker.is_alive()
                assert "Crashed" not in worker.log_path.read_text()
                worker.stop()
