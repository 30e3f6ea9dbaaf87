"""A real Redis, alone and as a cluster, for the tests of stores."""

from collections.abc import AsyncIterator, Iterator

import pytest
import redis

from tests.integration.redis_servers import redis_cluster
from worker.local.redis_server import start_redis
from worker.local.server import RunningServer
from worker.redis_client import Client, connect
from worker.settings import Settings


@pytest.fixture(scope="module", params=["single", "cluster"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """Settings with the URL of one that runs for a module; a module may have it otherwise."""
    directory = tmp_path_factory.mktemp("redis")
    if request.param == "single":
        with start_redis(directory) as found:
            yield Settings(redis_url=found.url)
    else:
        with redis_cluster(directory) as url:
            yield Settings(redis_url=url, redis_cluster=True)


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One alone, for a module."""
    with start_redis(tmp_path_factory.mktemp("redis")) as found:
        yield found


@pytest.fixture
def store(redis_server: RunningServer) -> Iterator["redis.Redis"]:
    """A plain client of it, emptied."""
    with redis.Redis(port=redis_server.port) as found:
        found.flushall()
        yield found


@pytest.fixture
async def client(server: Settings) -> AsyncIterator[Client]:
    """A client of it, emptied."""
    found = connect(server)
    await found.flushall()
    yield found
    await found.aclose()
