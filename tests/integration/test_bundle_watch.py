"""A new bundle is taken up as a whole, and a broken one is refused; real Redis and onnxruntime."""

import asyncio
import gc
import logging
import shutil
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from schemas import keys
from schemas.bundle import MANIFEST_FILE
from schemas.history import article_ref, merge, pack_entry
from schemas.records import Article
from schemas.tokenizer import article_text
from tests.other_bundles import exchange, other_model, scale, sign
from worker.bundle_watch import BundleWatch
from worker.catalogue import Catalogue
from worker.click_log import ClickLog
from worker.local.redis_server import start_redis
from worker.metrics import Metrics
from worker.model import Model, load_model
from worker.reader_store import MODELS_REMEMBERED, ReaderStore, ReaderUpdate
from worker.recommend.options import Options
from worker.recommend.statistics import Statistics
from worker.redis_client import Client, connect
from worker.serving import Serving, Workshop
from worker.settings import Settings


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with start_redis(tmp_path_factory.mktemp("redis")) as found:
        yield Settings(redis_url=found.url)


@pytest.fixture
def mounted(bundle: Path, tmp_path: Path) -> Path:
    """The bundle in a place where it may be exchanged."""
    return shutil.copytree(bundle, tmp_path / "bundle")


class Taken:
    """What was taken up, in order."""

    def __init__(self) -> None:
        self.models: list[Model] = []

    async def __call__(self, new: Model) -> None:
        self.models.append(new)

    @property
    def versions(self) -> list[str]:
        return [each.manifest.model_version for each in self.models]


async def look(watch: BundleWatch, times: int = 2) -> None:
    for _ in range(times):
        await watch.look()


async def test_a_new_bundle_is_taken_up_once(mounted: Path, tmp_path: Path) -> None:
    taken = Taken()
    watch = BundleWatch(mounted, load_model(mounted), taken, Metrics())
    await look(watch, 3)
    assert taken.versions == []
    new = other_model(mounted, tmp_path / "new")
    exchange(tmp_path / "new", mounted)
    await look(watch, 1)
    assert taken.versions == []  # it may still be being copied
    await look(watch, 3)
    assert taken.versions == [new.model_version]


async def test_one_that_came_while_the_worker_started_is_seen(
    mounted: Path, tmp_path: Path
) -> None:
    model = load_model(mounted)
    new = other_model(mounted, tmp_path / "new")
    exchange(tmp_path / "new", mounted)
    taken = Taken()
    await look(BundleWatch(mounted, model, taken, Metrics()))
    assert taken.versions == [new.model_version]


def _cut(bundle: Path) -> None:
    path = bundle / "article_encoder.onnx"
    path.write_bytes(path.read_bytes()[:-100])


def _no_graph(bundle: Path) -> None:
    (bundle / "profile_head.onnx").write_bytes(b"no graph at all")
    sign(bundle)


def _no_numbers(bundle: Path) -> None:
    scale(bundle / "profile_head.onnx", float("nan"))
    sign(bundle)


def _no_manifest(bundle: Path) -> None:
    (bundle / MANIFEST_FILE).write_text("{")


@pytest.mark.parametrize("spoil", [_cut, _no_graph, _no_numbers, _no_manifest])
async def test_a_broken_bundle_is_refused_once_and_a_whole_one_after_it_is_not(
    spoil: Callable[[Path], None], mounted: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    taken, metrics = Taken(), Metrics()
    model = load_model(mounted)
    watch = BundleWatch(mounted, model, taken, metrics)
    shutil.copytree(mounted, tmp_path / "kept")
    spoil(mounted)
    with caplog.at_level(logging.INFO):
        await look(watch, 5)
    assert taken.versions == []
    assert b"frontpage_bundles_refused_total 1.0" in metrics.text()
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "\n" not in record.getMessage()
    assert f"model {model.manifest.model_version} stays" in record.getMessage()
    new = other_model(tmp_path / "kept", tmp_path / "new")
    exchange(tmp_path / "new", mounted)
    await look(watch)
    assert taken.versions == [new.model_version]


async def test_one_that_waits_for_redis_is_tried_again(mounted: Path, tmp_path: Path) -> None:
    tries = []

    async def take_up(new: Model) -> None:
        tries.append(new.manifest.model_version)
        if len(tries) == 1:
            raise ConnectionError

    watch = BundleWatch(mounted, load_model(mounted), take_up, Metrics())
    new = other_model(mounted, tmp_path / "new")
    exchange(tmp_path / "new", mounted)
    await look(watch, 6)
    assert tries == [new.model_version] * 2


async def test_a_card_alone_changes_nothing_that_is_served(mounted: Path) -> None:
    taken = Taken()
    watch = BundleWatch(mounted, load_model(mounted), taken, Metrics())
    (mounted / "card" / "note.md").write_text("more")
    sign(mounted)
    await look(watch, 3)
    assert taken.versions == []


@pytest.fixture
async def client(server: Settings) -> AsyncIterator[Client]:
    found = connect(server)
    await found.flushall()
    yield found
    await found.aclose()


def workshop(client: Client) -> Workshop:
    settings, statistics = Settings(), Statistics(slots=2)
    log = ClickLog(client, statistics, Catalogue(1, np.dtype("<f4")), settings.ttl_ms)
    return Workshop(settings, Options(), client, statistics, log, Metrics())


def articles(*names: str, title: str = "A title") -> list[Article]:
    return [Article(article_id=each, title=f"{title} {each}", tags=["t"]) for each in names]


async def test_every_article_is_encoded_by_the_new_model_too(
    client: Client, mounted: Path, tmp_path: Path
) -> None:
    shop, old = workshop(client), load_model(mounted)
    first = shop.build(old)
    await first.articles.take(articles("a", "b"))
    new_version = other_model(mounted, tmp_path / "new").model_version
    new = load_model(tmp_path / "new")
    second = shop.build(new)
    await second.articles.follow()
    assert len(second.catalogue) == 2
    for serving in (first, second):
        held = {each.article_id: each.model_version for each in serving.catalogue.articles}
        assert set(held.values()) == {serving.model.manifest.model_version}
    assert new_version != old.manifest.model_version
    assert vectors(second, "a") == encoded(new, "A title a")
    assert vectors(first, "a") != vectors(second, "a")


def encoded(model: Model, title: str) -> bytes:
    tags = ["t"] if model.manifest.reads_tags else None
    return model.encode([article_text(title, None, tags)]).tobytes()


def vectors(serving: Serving, name: str) -> bytes:
    (row,) = [at for at, each in enumerate(serving.catalogue.articles) if each.article_id == name]
    return serving.catalogue.rows[row].tobytes()


async def test_an_article_that_changes_under_one_model_changes_under_the_other(
    client: Client, mounted: Path, tmp_path: Path
) -> None:
    """Workers of two models run side by side for a while; either may get the new text."""
    shop = workshop(client)
    other_model(mounted, tmp_path / "new")
    one, other = shop.build(load_model(mounted)), shop.build(load_model(tmp_path / "new"))
    await one.articles.take(articles("a", "b"))
    await other.articles.follow()
    await one.articles.take(articles("a", title="Another title"))
    await other.articles.follow()
    assert vectors(other, "a") == encoded(other.model, "Another title a")
    assert vectors(other, "b") == encoded(other.model, "A title b")
    # A worker that starts later finds the same.
    third = shop.build(load_model(tmp_path / "new"))
    await third.articles.follow()
    assert third.articles.unserved == []  # nothing had to be encoded again
    assert vectors(third, "a") == vectors(other, "a")


async def test_a_text_that_comes_after_its_number_is_waited_for(
    client: Client, mounted: Path, tmp_path: Path
) -> None:
    shop = workshop(client)
    other_model(mounted, tmp_path / "new")
    one, other = shop.build(load_model(mounted)), shop.build(load_model(tmp_path / "new"))
    await one.articles.take(articles("a"))
    await other.articles.follow()
    text = await client.get("article:{a}")
    await one.articles.take(articles("a", title="Another title"))
    newer = await client.get("article:{a}")
    await client.set("article:{a}", text)  # as if it were on its way
    for _ in range(3):
        await other.articles.follow()
        assert vectors(other, "a") == encoded(other.model, "A title a")
    await client.set("article:{a}", newer)
    await other.articles.follow()
    assert vectors(other, "a") == encoded(other.model, "Another title a")


async def test_who_waits_under_the_old_model_is_found_under_the_new_one(
    client: Client, mounted: Path, tmp_path: Path
) -> None:
    shop = workshop(client)
    other_model(mounted, tmp_path / "new")
    one = shop.build(load_model(mounted))
    await one.readers.begin(1)
    ref = article_ref("late")
    held = merge(None, [pack_entry(1, None, ref)], 8)
    await one.readers.write([ReaderUpdate("u", None, held, b"p", b"r", [ref])])
    # By another process, for all it knows.
    other = shop.build(load_model(tmp_path / "new"))
    assert await other.readers.waiting([ref]) == {}
    await other.readers.begin(2)
    assert await other.readers.waiting([ref]) == {ref: {"u"}}
    await other.readers.done_waiting({ref: {"u"}})
    assert await one.readers.waiting([ref]) == {}


async def test_models_of_long_ago_are_forgotten(client: Client) -> None:
    for number in range(MODELS_REMEMBERED + 3):
        await ReaderStore(client, 60_000, f"v{number}").begin(number)
    await ReaderStore(client, 60_000, "v3").begin(99)  # served again
    store = ReaderStore(client, 60_000, "new")
    await store.begin(100)
    assert store._versions == ["new", "v5", "v6", "v3"]
    assert await client.zcard(keys.MODELS_SERVED) == MODELS_REMEMBERED


async def test_what_served_the_old_model_is_let_go(client: Client, mounted: Path) -> None:
    shop = workshop(client)
    serving = shop.build(load_model(mounted))
    await serving.articles.take(articles(*(str(each) for each in range(50))))
    gone = weakref.ref(serving.catalogue), weakref.ref(serving.front_pages)
    gc.collect()
    gc.disable()  # without its help: what is frozen it does not look at
    try:
        del serving
        await asyncio.sleep(0)
        assert [each() for each in gone] == [None, None]
    finally:
        gc.enable()
