"""Workers and brokers that die in the middle of a stream lose no click."""

import os
import signal
import threading
from pathlib import Path

import pytest

from schemas.reading_set import ReadingSet
from tests.e2e.installation import installation, wait_until
from tests.expected import histories
from tests.kafka_broker import BrokerUnavailableError, kafka_broker

RATE = {"rate": 1500.0}


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
