"""What grows with what: cost per click by live articles and by readers, and the time of a start."""

import time
from pathlib import Path

import redis

from schemas.errors import UnavailableError
from schemas.history import article_ref, merge, pack_entry
from schemas.keys import history
from tests.benchmarks.stream.contestants import CONTESTANTS
from tests.benchmarks.stream.ground import Clicks, Ground
from tests.benchmarks.stream.models import TWO_STAGE, Models
from tests.benchmarks.stream.throughput import READY_S, Run, check, run
from tests.benchmarks.stream.watch import redis_use
from tests.benchmarks.stream.workload import START_MS, Workload, generated, reader_id

OURS = CONTESTANTS["ours"]
HELD_CLICKS = 8
START_CLICKS = 200

_READERS_PER_STEP = 10_000
_LOOK_S = 0.01


def by_articles(
    ground: Ground, models: Models, counts: list[int], num_readers: int, num_clicks: int
) -> list[tuple[int, Run]]:
    """Run the worker on catalogues of these sizes; readers and number of clicks stay."""
    return [
        (
            count,
            _run(
                ground,
                models,
                generated(num_articles=count, num_readers=num_readers, num_clicks=num_clicks),
            ),
        )
        for count in counts
    ]


def by_readers(
    ground: Ground, models: Models, counts: list[int], num_articles: int, num_clicks: int
) -> list[tuple[int, Run]]:
    """Run the worker on so many readers who all click alike and hold `HELD_CLICKS` already.

    Alike, so that a batch has about as many different readers of few as of many.
    """
    runs = []
    for count in counts:
        workload = generated(
            num_articles=num_articles, num_readers=count, num_clicks=num_clicks, reader_exponent=0.0
        )
        runs.append((count, _run(ground, models, workload, held=count)))
    return runs


def first_click_s(ground: Ground, models: Models, num_articles: int) -> float:
    """Return the seconds from the start of a worker until the first profile is in Redis."""
    workload = generated(num_articles=num_articles, num_readers=100, num_clicks=START_CLICKS)
    bundle = models.bundle(TWO_STAGE)
    catalogue = ground.catalogue(workload, bundle)
    clicks = ground.preload(workload)
    with ground.site(clicks.topic, catalogue, bundle) as site:
        began = time.monotonic()
        worker = site.start("worker", OURS.arguments)
        try:
            while not redis_use(site.redis).by_command.get("evalsha"):
                check(worker)
                if time.monotonic() - began > READY_S:
                    raise UnavailableError(f"no click processed after {READY_S:.0f} s")
                time.sleep(_LOOK_S)
            return time.monotonic() - began
        finally:
            worker.stop()


def _run(ground: Ground, models: Models, workload: Workload, held: int = 0) -> Run:
    bundle = models.bundle(TWO_STAGE)
    catalogue = ground.catalogue(
        workload, bundle, also=lambda client: _store_histories(client, workload, held)
    )
    clicks: Clicks = ground.preload(workload)
    result = run(ground, OURS, clicks, catalogue, bundle)
    _forget(catalogue)
    return result


def _store_histories(client: redis.Redis, workload: Workload, num_readers: int) -> None:
    """Give readers clicks on articles of before: the same few histories, again and again."""
    refs = [article_ref(article.article_id) for article in workload.articles]
    packed = [
        merge(
            None,
            [
                pack_entry(START_MS + at, None, refs[(kind * HELD_CLICKS + at) % len(refs)])
                for at in range(HELD_CLICKS)
            ],
            HELD_CLICKS,
        )
        for kind in range(1000)
    ]
    for start in range(0, num_readers, _READERS_PER_STEP):
        part = range(start, min(start + _READERS_PER_STEP, num_readers))
        client.mset({history(reader_id(at)): packed[at % len(packed)] for at in part})


def _forget(catalogue: Path) -> None:
    """Delete a large file that is needed no more."""
    catalogue.unlink()
