"""Pages for sessions without a name: those a worker would make, and nothing kept."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
from aiohttp import ClientSession

from schemas import keys
from schemas.history import article_ref, merge, pack_entry
from schemas.reading_set import ReadingSet
from schemas.records import Recommendation
from tests.integration.serving_site import served
from worker.article_store import ArticleStore
from worker.articles import Articles
from worker.catalogue import Catalogue
from worker.click_log import ClickLog
from worker.eye import Eye
from worker.front_pages import FrontPages
from worker.local.server import RunningServer, free_port
from worker.model import Model, load_model
from worker.recommend.options import Options
from worker.recommend.recommender import Recommender
from worker.recommend.statistics import Statistics
from worker.redis_client import connect
from worker.serve.records import SessionPage
from worker.settings import Settings

PATH = "/v1/recommendations"
NUM_ARTICLES = 120


@pytest.fixture(scope="module")
def model(bundle: Path) -> Model:
    return load_model(bundle)


@pytest.fixture(scope="module")
def settings(redis_server: RunningServer, bundle: Path, tmp_path_factory: Any) -> Settings:
    options = tmp_path_factory.mktemp("options") / "recommend.toml"
    options.write_text("[selection]\nexplore_share = 0.0\n")
    return Settings(
        redis_url=redis_server.url,
        bundle=bundle,
        kafka_bootstrap=f"127.0.0.1:{free_port()}",
        recommend_file=options,
    )


class Catalogued:
    """A catalogue that a worker has put into Redis, and that worker's pages."""

    def __init__(self, settings: Settings, model: Model, newsroom: Path) -> None:
        self.settings = settings
        self.version = model.manifest.model_version
        articles = list(ReadingSet(newsroom).articles())
        # The same articles as a reader has them: in one language, and published by now.
        language = articles[0].language
        self.articles = [each for each in articles if each.language == language][:NUM_ARTICLES]
        self.now_ms = int(time.time() * 1000)
        catalogue = Catalogue(model.manifest.row_width, model.row_dtype)
        options = msgspec.convert({"selection": {"explore_share": 0.0}}, Options)
        recommender = Recommender(catalogue, Statistics(), options)
        eye = Eye(catalogue, model, settings.tag_half_life_days)
        self._pages = FrontPages(model, recommender, eye, settings.num_recommendations)
        asyncio.run(self._put(model, catalogue))

    async def _put(self, model: Model, catalogue: Catalogue) -> None:
        client = connect(self.settings)
        store = ArticleStore(client, self.settings.ttl_ms, self.version)
        await Articles(model, catalogue, store).take(self.articles)
        await client.aclose()

    def page(self, clicks: list[tuple[str, int]]) -> Recommendation:
        """Return what a worker makes of a reader with these clicks."""
        entries = [pack_entry(ms, None, article_ref(each)) for each, ms in clicks]
        history = merge(None, entries, 1024) if entries else b""
        now = datetime.fromtimestamp(self.now_ms / 1000, UTC)
        (made,) = self._pages.make(["r"], [history], self.now_ms, now, [self.now_ms])
        return msgspec.json.decode(made.recommendation, type=Recommendation)


@pytest.fixture(scope="module")
def site(settings: Settings, model: Model, newsroom: Path) -> Catalogued:
    return Catalogued(settings, model, newsroom)


@pytest.fixture
async def client(settings: Settings, site: Catalogued) -> AsyncIterator[ClientSession]:
    assert site.articles
    async with served(settings) as found:
        await until_ready(found)
        yield found


async def until_ready(client: ClientSession) -> None:
    async with asyncio.timeout(60):
        while True:
            async with client.post(PATH, json={}) as answer:
                if answer.status == 200:
                    return
                assert answer.status == 503
            await asyncio.sleep(0.05)


async def ask(client: ClientSession, query: str = "", **session: Any) -> SessionPage:
    async with client.post(PATH + query, json=session) as answer:
        assert answer.status == 200, await answer.text()
        return msgspec.json.decode(await answer.read(), type=SessionPage)


def keys_and_sizes(settings: Settings) -> dict[bytes, int]:
    with redis.Redis.from_url(settings.redis_url) as store:
        return {name: store.memory_usage(name) for name in store.scan_iter()}


async def test_a_session_gets_the_page_of_a_reader_with_its_clicks(
    client: ClientSession, site: Catalogued
) -> None:
    before = keys_and_sizes(site.settings)
    clicked = [each.article_id for each in site.articles[:6]]
    times = [(each, site.now_ms - 60_000 * number) for number, each in enumerate(clicked)]
    clicks = [{"article_id": each, "timestamp": ms} for each, ms in times]
    found = await ask(client, clicks=clicks)
    expected = await asyncio.to_thread(site.page, times)
    assert [item.article_id for item in found.items] == [i.article_id for i in expected.items]
    assert found.items[0].reasons == expected.items[0].reasons
    assert not set(clicked) & {item.article_id for item in found.items}
    assert found.model_version == expected.model_version
    assert found.profile is not None
    assert (found.profile.num_clicks, found.profile.num_known) == (6, 6)
    assert keys_and_sizes(site.settings) == before


async def test_who_clicked_nothing_gets_a_page_and_no_profile(
    client: ClientSession, site: Catalogued
) -> None:
    found = await ask(client, "?articles=true")
    titles = {each.article_id: each.title for each in site.articles}
    assert len(found.items) == site.settings.num_recommendations
    assert found.profile is None
    for item in found.items:
        assert item.article is not None and item.article.title == titles[item.article_id]  # type: ignore[union-attr]


async def test_wishes_are_heeded(client: ClientSession, site: Catalogued) -> None:
    clicks = [{"article_id": each.article_id} for each in site.articles[:3]]
    plain = await ask(client, clicks=clicks)
    unwanted = plain.items[0]
    found = await ask(
        client,
        clicks=clicks,
        profiling=False,
        blocked_articles=[plain.items[1].article_id],
        blocked_tags=unwanted.tags[:1],
    )
    assert found.profile is None
    shown = {item.article_id for item in found.items}
    assert not shown & {unwanted.article_id, plain.items[1].article_id}
    assert all(unwanted.tags[0] not in item.tags for item in found.items)


async def test_sessions_at_once_are_answered_each_with_its_own(
    client: ClientSession, site: Catalogued
) -> None:
    own = [[{"article_id": each.article_id}] for each in site.articles[:40]]
    pages = await asyncio.gather(*(ask(client, clicks=clicks) for clicks in own))
    for clicks, page in zip(own, pages, strict=True):
        assert clicks[0]["article_id"] not in {item.article_id for item in page.items}
        assert page.profile is not None and page.profile.num_known == 1


async def test_what_workers_withdraw_is_gone_within_a_moment(
    client: ClientSession, site: Catalogued
) -> None:
    first = (await ask(client)).items[0].article_id
    store = ArticleStore(redis_client := connect(site.settings), 10_000, site.version)
    await store.withdraw([first])
    assert first not in {item.article_id for item in (await ask(client)).items}
    async with asyncio.timeout(5):
        while len((await ask(client)).items) < site.settings.num_recommendations:
            await asyncio.sleep(0.1)
    await redis_client.aclose()


async def test_what_is_no_session_is_refused(client: ClientSession) -> None:
    for session in (
        {"clicks": [{"article_id": ""}]},
        {"clicks": [{"article_id": "x" * 600}]},
        {"clicks": [{"article_id": "界" * 400}]},
        {"clicks": [{"article_id": "a1", "timestamp": -1}]},
        {"clicks": [{"article_id": "a1"}] * 257},
        [],
    ):
        async with client.post(PATH, json=session) as answer:
            assert answer.status == 400
            assert (await answer.json(content_type=None))["type"].endswith(":invalid-request")


async def test_without_a_bundle_it_says_so(settings: Settings, tmp_path: Path) -> None:
    bare = msgspec.structs.replace(settings, bundle=tmp_path)
    async with served(bare) as client, client.post(PATH, json={}) as answer:
        assert answer.status == 503
        assert (await answer.json(content_type=None))["type"].endswith(":no-model")


async def test_an_emptied_redis_leaves_an_epoch_to_workers(settings: Settings) -> None:
    client = connect(settings)
    names = [keys.STATISTICS_EPOCH, keys.CLICK_LOG]
    assert not await client.exists(*names)  # no worker has run here
    log = ClickLog(client, Statistics(slots=2), Catalogue(1, "<f4"), 1000, read_only=True)  # type: ignore[arg-type]
    await log.follow()
    assert not await client.exists(*names)
    await client.set(keys.STATISTICS_EPOCH, b"drawn by a worker")
    await log.follow()
    assert await client.get(keys.STATISTICS_EPOCH) == b"drawn by a worker"
    await client.delete(*names)
    await client.aclose()
