"""What a click costs when two workers share the partitions, in terms of one worker.

Both are there, with their partitions, before the first click comes: what one does while the other
still starts is not measured.
"""

import time
from pathlib import Path
from uuid import uuid4

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from schemas.errors import UnavailableError
from tests.benchmarks.stream.contestants import CONTESTANTS
from tests.benchmarks.stream.ground import Ground, Site
from tests.benchmarks.stream.throughput import READY_S, check, wait_for_catalogue, wait_for_commits
from tests.benchmarks.stream.watch import cpu_s
from tests.benchmarks.stream.workload import Workload
from worker.local.server import RunningServer

SETTLED_S = 2.0
"""After the partitions are shared out, until workers are idle again."""

_ASK_S = 0.2


def us_per_click(
    ground: Ground, workload: Workload, catalogue: Path, bundle: Path, num_workers: int
) -> float:
    """Return the CPU microseconds a click, of all workers together.

    Raises:
        UnavailableError: when one ends, or they do not share the partitions in time.
    """
    topic = f"clicks-{uuid4().hex[:8]}"
    ground.create([topic])
    workers: list[RunningServer] = []
    with ground.site(topic, catalogue, bundle) as site:
        try:
            for number in range(num_workers):
                workers.append(site.start(f"worker-{number}", CONTESTANTS["ours"].arguments))
            for worker in workers:
                wait_for_catalogue(worker)
            _wait_for_partitions(ground, site, workers, topic)
            before = [cpu_s(worker.pid) for worker in workers]
            clicks = ground.preload(workload, topic)
            wait_for_commits(site, clicks, workers)
            after = [cpu_s(worker.pid) for worker in workers]
            return (sum(after) - sum(before)) / clicks.num_clicks * 1e6
        finally:
            for worker in workers:
                worker.stop()


def _wait_for_partitions(
    ground: Ground, site: Site, workers: list[RunningServer], topic: str
) -> None:
    """Wait until each worker has some of the topic's partitions."""
    admin = AdminClient(ground.client_config)
    group = site.settings.app_id
    deadline = time.monotonic() + READY_S
    while True:
        try:
            found = admin.describe_consumer_groups([group], request_timeout=10)[group].result()
            owners = [
                member
                for member in found.members
                if any(place.topic == topic for place in member.assignment.topic_partitions)
            ]
        except KafkaException:  # there is no such group yet
            owners = []
        if len(owners) == len(workers):
            time.sleep(SETTLED_S)
            return
        for worker in workers:
            check(worker)
        if time.monotonic() > deadline:
            raise UnavailableError("the workers do not share the partitions")
        time.sleep(_ASK_S)
