"""Workers and brokers that die in the middle of a stream lose no click."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from schemas.reading_set import ReadingSet
from tests.e2e.installation import installation, wait_until
from tests.expected import histories
from tests.kafka_broker import BrokerUnavailableError, TestBroker, kafka_broker


def test_a_killed_workers_clicks_are_taken_over_on_three_brokers(
    bundle: Path, newsroom: Path, tmp_path: Path
) -> None:
    reading_set = ReadingSet(newsroom)
    try:
        cluster = kafka_broker(tmp_path / "kafka", brokers=3)
        with cluster as kafka, installation(kafka.bootstrap_servers, bundle, tmp_path) as site:
            first = site.start_worker(batch_size=20)
            run = site.replay()
            run.articles(reading_set)
            publisher = threading.Thread(
                target=run.clicks, args=(reading_set,), kwargs={"rate": 1500}
            )
            publisher.start()
            wait_until("the first profiles", lambda: len(site.redis.keys("profile:*")) > 20)
            second = site.start_worker()
            os.kill(first.pid, signal.SIGKILL)
            if kafka.can_lose_a_broker:
                kafka.kill(2)
            publisher.join()
            if kafka.can_lose_a_broker:
                kafka.restart(2)
            site.wait_until_stored()
            assert second.is_alive() and not first.is_alive()
            assert site.histories() == histories(reading_set.clicks(), 1024)
            assert set(site.recommendations()) == set(site.profiles()) == set(site.histories())
    except BrokerUnavailableError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


def test_workers_that_come_and_go_crash_nobody(
    kafka: TestBroker, bundle: Path, newsroom: Path, tmp_path: Path
) -> None:
    reading_set = ReadingSet(newsroom)
    with installation(kafka.bootstrap_servers, bundle, tmp_path) as site:
        stays = site.start_worker(batch_size=50)
        run = site.replay()
        run.articles(reading_set)
        publisher = threading.Thread(target=run.clicks, args=[reading_set], kwargs={"rate": 400.0})
        publisher.start()
        goes = site.start_worker(batch_size=50)
        for _ in range(6):
            # Just long enough to have joined, so that one rebalance follows the other.
            time.sleep(1.5)
            os.kill(goes.pid, signal.SIGTERM)
            goes = site.start_worker(batch_size=50)
        publisher.join()
        site.wait_until_stored()
        assert stays.is_alive()
        assert "Crashed" not in stays.log_path.read_text()
        assert site.histories() == histories(reading_set.clicks(), 1024)


def test_a_worker_without_brokers_still_stops(bundle: Path, tmp_path: Path) -> None:
    try:
        with kafka_broker(tmp_path / "kafka") as kafka:
            if not kafka.can_lose_a_broker:
                pytest.skip("needs a broker that can be killed")
            with installation(kafka.bootstrap_servers, bundle, tmp_path) as site:
                worker = site.start_worker()
                site.produce(site.settings.topic_clicks, (b"u", b"{}"))
                site.wait_until_stored()
                kafka.kill(1)
                started = time.monotonic()
                os.kill(worker.pid, signal.SIGTERM)
                wait_until("the end of the worker", lambda: not worker.is_alive(), 15.0)
                assert time.monotonic() - started < 10.0
    except BrokerUnavailableError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
