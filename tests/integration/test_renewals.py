"""What follows from a batch that is made and stored part by part; real Redis and onnxruntime."""

from pathlib import Path

import pytest

from schemas.history import article_ref, pack_entry
from tests.integration.test_shadow import ARTICLES, NAMES, catalogue_by
from worker.batch_lessons import CLICKS_PER_LESSON, LESSONS, BatchLessons, lessons_of
from worker.eye import Eye
from worker.front_pages import FrontPages
from worker.metrics import Metrics
from worker.model import load_model
from worker.reader_store import ReaderStore
from worker.recommend.log_reader import unpack
from worker.recommend.options import Options
from worker.recommend.recommender import Recommender
from worker.recommend.statistics import Statistics
from worker.redis_client import Client
from worker.renewals import READERS_PER_PART, Renewals

TTL_MS = 60_000
NUM_READERS = 4 * READERS_PER_PART + 10 * CLICKS_PER_LESSON
NOW_MS = 1_800_000_000_000


@pytest.mark.parametrize("per_s", [None, 0.0])  # a backlog teaches as much, however fast
async def test_a_batch_of_many_parts_counts_all_clicks_and_teaches_its_first_ones(
    client: Client, bundle: Path, per_s: float | None
) -> None:
    model = load_model(bundle)
    catalogue = catalogue_by(model, ARTICLES)
    recommender = Recommender(catalogue, Statistics(64), Options())
    eye = Eye(catalogue, model, 14.0)
    renewals = Renewals(
        FrontPages(model, recommender, eye, 1),
        BatchLessons(catalogue, recommender, eye, per_s),
        ReaderStore(client, TTL_MS, model.manifest.model_version),
        8,
        Metrics(),
    )
    readers = renewals._readers
    clicks = {
        f"u{at}": [pack_entry(NOW_MS + at, None, article_ref(NAMES[at % len(NAMES)]))]
        for at in range(NUM_READERS)
    }
    held = await readers.read(list(clicks), [])
    now_ms = NOW_MS + NUM_READERS
    updates, results = await renewals.store(clicks, held, now_ms, now_ms)
    assert [update.user_id for update in updates] == list(clicks)
    assert not any(result.lost for result in results)
    told = [unpack(update.told) for update in updates]
    assert sum(len(each.clicks.counted) for each in told) == NUM_READERS
    taught = [at for at, each in enumerate(told) if each.lessons]
    assert lessons_of(NUM_READERS) > LESSONS
    assert taught == list(range(lessons_of(NUM_READERS)))  # the earliest clicks
