"""Redis goes away, is slow, is full, or gives way to its replica: workers wait and go on."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from schemas.reading_set import ReadingSet
from tests.e2e.installation import Installation, installation, wait_until
from tests.faults.conftest import Pick
from tests.faults.load import Load
from tests.faults.outcome import Undisturbed, check_outcome
from tests.faults.proxy import Proxy, proxy
from tests.faults.work import wait_for_work
from tests.kafka_broker import TestBroker
from worker.local.redis_server import start_redis

RATE = 300
SLOW_S = 0.5
HEADROOM_BYTES = 200_000
REPLICATED_S = 10.0
MOST_LINES = 300


@dataclass
class Stage:
    """An installation whose workers reach Redis through a proxy; the test does not."""

    site: Installation
    proxy: Proxy
    directory: Path
    stack: ExitStack
    """Ends with the test."""

    @property
    def redis(self) -> "redis.Redis":
        """The Redis that is in use."""
        return self.site.redis


@contextmanager
def away(stage: Stage) -> Iterator[None]:
    """Redis cannot be reached."""
    stage.proxy.cut()
    yield
    stage.proxy.mend()


@contextmanager
def slow(stage: Stage) -> Iterator[None]:
    """Every answer of Redis takes half a second."""
    stage.proxy.delay_s = SLOW_S
    yield
    stage.proxy.delay_s = 0.0


@contextmanager
def full(stage: Stage) -> Iterator[None]:
    """Redis refuses writes for want of memory."""
    used = stage.redis.info("memory")["used_memory"]
    stage.redis.config_set("maxmemory-policy", "noeviction")
    stage.redis.config_set("maxmemory", used + HEADROOM_BYTES)
    wait_until("a refused write", lambda: is_full(stage.redis))
    # At the limit memory that is freed lets a write pass now and then; from here on none.
    stage.redis.config_set("maxmemory", used // 2)
    yield
    assert is_full(stage.redis)
    stage.redis.config_set("maxmemory", 0)


def is_full(client: "redis.Redis") -> bool:
    """Tell whether a write is refused."""
    try:
        client.set("probe", b"x", px=1)
    except redis.exceptions.OutOfMemoryError:
        return True
    return False


@contextmanager
def failover(stage: Stage) -> Iterator[None]:
    """The replica takes the place of a Redis that has died; all that was answered is on it."""
    server = stage.stack.enter_context(start_redis(stage.directory / "replica"))
    replica = redis.Redis(port=server.port)
    stage.stack.callback(stage.redis.close)
    main_port = stage.redis.connection_pool.connection_kwargs["port"]
    replica.execute_command("REPLICAOF", "127.0.0.1", main_port)
    wait_until("the first copy", lambda: replica.info("replication")["master_link_status"] == "up")
    stage.proxy.cut()  # nothing more is answered from here on
    assert stage.redis.execute_command("WAIT", 1, round(REPLICATED_S * 1000)) == 1
    wait_until("the rest", lambda: lag_bytes(stage.redis) == 0)
    stage.redis.shutdown(nosave=True)
    yield
    replica.execute_command("REPLICAOF", "NO", "ONE")
    stage.proxy.point_to(server.port)
    stage.site.redis = replica


def lag_bytes(client: "redis.Redis") -> int:
    """Return how far the replica is behind."""
    found = client.info("replication")
    return int(found["master_repl_offset"] - found["slave0"]["offset"])


def test_a_redis_in_trouble_delays_clicks_and_loses_none(
    kafka: TestBroker,
    bundle: Path,
    newsroom: Path,
    tmp_path: Path,
    undisturbed: Undisturbed,
    pick: Pick[float],
) -> None:
    with installation(kafka.bootstrap_servers, bundle, tmp_path) as site, ExitStack() as stack:
        port = site.redis.connection_pool.connection_kwargs["port"]
        between = stack.enter_context(proxy(port))
        site.replay().articles(ReadingSet(newsroom))
        worker = site.start_worker(redis_url=f"redis://127.0.0.1:{between.port}/0")
        load = Load(site, undisturbed.article_ids, undisturbed.begin_ms, rate=RATE)
        stage = Stage(site, between, tmp_path, stack)
        # One trouble after the other, on what the one before has left.
        for fault in (away, slow, full, failover):
            with load:
                wait_for_work(site, worker)
                with fault(stage):
                    time.sleep(pick(3.0, 30.0))
                wait_for_work(site, worker)
            check_outcome(site, undisturbed, load.sent())
        assert worker.is_alive()
        log = worker.log_path.read_text()
        assert "Crashed" not in log
        # A line for every attempt, not for every chunk that waits.
        assert 0 < log.count("; again in ") < MOST_LINES
