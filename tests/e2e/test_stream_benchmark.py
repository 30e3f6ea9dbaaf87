"""Every contestant of the stream benchmark does the same work: equal histories, and pages."""

from pathlib import Path

import pytest
import redis

from schemas import keys
from tests.benchmarks.stream.contestants import CONTESTANTS
from tests.benchmarks.stream.ground import Ground
from tests.benchmarks.stream.latency import latency
from tests.benchmarks.stream.models import TWO_STAGE, Models
from tests.benchmarks.stream.throughput import run
from tests.benchmarks.stream.workload import Workload, generated
from tests.expected import histories
from tests.kafka_broker import TestBroker

HISTORY_SIZE = 1024


@pytest.fixture(scope="module")
def models(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(tmp_path_factory.mktemp("models"), bundle)


@pytest.fixture
def ground(kafka: TestBroker, tmp_path: Path) -> Ground:
    return Ground(kafka.bootstrap_servers, kafka.kind, tmp_path)


@pytest.fixture(scope="module")
def workload() -> Workload:
    return generated(num_articles=50, num_readers=30, num_clicks=200)


@pytest.mark.parametrize("name", sorted(CONTESTANTS))
def test_a_contestant_stores_the_histories(
    name: str, ground: Ground, models: Models, workload: Workload
) -> None:
    contestant = CONTESTANTS[name]
    if not contestant.is_installed:
        pytest.skip(f"{contestant.needs} is not installed")
    bundle = models.bundle(contestant.model)
    expected = histories(workload.clicks, HISTORY_SIZE)
    found: dict[str, object] = {}
    pages: list[object] = []

    def look(client: redis.Redis) -> None:
        for user_id in expected:
            found[user_id] = client.get(keys.history(user_id))
            pages.append(client.get(keys.recs(user_id)))

    done = run(
        ground,
        contestant,
        ground.preload(workload),
        ground.catalogue(workload, bundle),
        bundle,
        look=look,
    )
    assert found == expected
    assert all(pages)
    assert done.num_clicks == 200


def test_stages_are_counted_and_the_histories_are_the_same(
    ground: Ground, models: Models, workload: Workload
) -> None:
    bundle = models.bundle(TWO_STAGE)
    done = run(
        ground,
        CONTESTANTS["ours"],
        ground.preload(workload),
        ground.catalogue(workload, bundle),
        bundle,
        profiled=True,
    )
    assert done.profile is not None
    assert done.profile.missing == []
    assert {"decode", "read", "infer", "rank", "write", "emit"} <= set(done.profile.stages_us)
    assert done.profile.calls["batches"] > 0


def test_paced_clicks_are_answered(ground: Ground, models: Models, workload: Workload) -> None:
    bundle = models.bundle(TWO_STAGE)
    done = latency(
        ground,
        CONTESTANTS["ours"],
        workload,
        ground.catalogue(workload, bundle),
        bundle,
        rate=10.0,
        seconds=2.0,
    )
    assert done.num_clicks > 0
    assert done.num_unanswered == 0
