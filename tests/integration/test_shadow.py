"""A second model is compared and serves nobody; real onnxruntime."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from schemas.encoded import EncodedArticle
from schemas.history import article_ref, merge, pack_entry
from schemas.records import Article
from schemas.tokenizer import article_text
from tests.other_bundles import other_model
from worker.catalogue import Catalogue
from worker.eye import Eye
from worker.front_pages import FrontPages
from worker.metrics import Metrics
from worker.model import Model, load_model
from worker.reader_store import ReaderUpdate
from worker.recommend.options import Options
from worker.recommend.recommender import Recommender
from worker.recommend.statistics import Statistics
from worker.shadow import NEW_ARTICLES, Shadow

TITLES = ("Rates fall again", "The final goes to extra time", "A novel about the sea", "Vaccines")
NAMES = [f"a{number}" for number in range(40)]
ARTICLES = {
    name: Article(article_id=name, title=f"{TITLES[at % 4]} {at}", tags=["t"])
    for at, name in enumerate(NAMES)
}


def catalogue_by(model: Model, articles: dict[str, Article]) -> Catalogue:
    found = Catalogue(model.manifest.row_width, model.row_dtype)
    tags = ["t"] if model.manifest.reads_tags else None
    rows = model.encode([article_text(each.title, None, tags) for each in articles.values()])
    for name, row in zip(articles, rows, strict=True):
        found.put(EncodedArticle(name, "", row.tobytes(), ["t"], None))
    return found


def updates_by(model: Model, catalogue: Catalogue, names: Sequence[Sequence[str]]) -> list[object]:
    """Return what a worker would have stored of readers who clicked these articles."""
    histories = [
        merge(None, [pack_entry(at, None, article_ref(each)) for at, each in enumerate(own)], 512)
        for own in names
    ]
    recommender = Recommender(catalogue, Statistics(2), Options())
    pages = FrontPages(model, recommender, Eye(catalogue, model, 14.0), 1)
    users = [f"u{number}" for number in range(len(names))]
    made = pages.make(users, histories, 1, datetime.now(UTC))
    return [
        ReaderUpdate(user, None, history, page.profile, page.recommendation, [])
        for user, history, page in zip(users, histories, made, strict=True)
    ]


class Site:
    """A served model, a shadow, and the texts of articles."""

    def __init__(self, served: Path, shadow: Path) -> None:
        self.model = load_model(served)
        self.catalogue = catalogue_by(self.model, ARTICLES)
        self.metrics = Metrics()
        self.texts = {name: msgspec.json.encode(each) for name, each in ARTICLES.items()}
        self.shadow = Shadow(shadow, 1.0, lambda: self.catalogue, self._get, self.metrics)

    async def _get(self, names: Sequence[str]) -> list[bytes | None]:
        return [self.texts.get(name) for name in names]

    def value(self, series: str) -> float:
        for line in self.metrics.text().decode().splitlines():
            name, _, value = line.rpartition(" ")
            if name == f"frontpage_shadow_{series}":
                return float(value)
        raise KeyError(series)

    async def compare(self, updates: Sequence[object]) -> None:
        before = self.value("batches_total")
        self.shadow.offer(updates)
        async with asyncio.timeout(20):
            while self.value("batches_total") == before:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def running(site: Site) -> AsyncIterator[Site]:
    task = asyncio.create_task(site.shadow.run())
    async with asyncio.timeout(20):
        while "shadow_model_info{" not in site.metrics.text().decode():
            await asyncio.sleep(0.01)
    yield site
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


READERS = [NAMES[:1], NAMES[3:9], NAMES[:20], NAMES[20:]]


async def test_a_model_agrees_with_itself(bundle: Path) -> None:
    async with running(Site(bundle, bundle)) as site:
        await site.compare(updates_by(site.model, site.catalogue, READERS))
        assert site.value("readers_total") == len(READERS)
        # Profiles are rounded to hundredths of a year.
        assert site.value("age_difference_years_total") <= 0.0051 * len(READERS)
        for attribute in ("gender", "income_group"):
            assert site.value(f'compared_total{{attribute="{attribute}"}}') == len(READERS)
            assert site.value(f'agreed_total{{attribute="{attribute}"}}') == len(READERS)
        assert site.value("articles_total") == len(NAMES)
        assert site.value("seconds_total") > 0
        await site.compare(updates_by(site.model, site.catalogue, READERS))
        assert site.value("articles_total") == len(NAMES)  # each is encoded once


async def test_differences_are_those_of_the_two_models(bundle: Path, tmp_path: Path) -> None:
    other_model(bundle, tmp_path / "other", factor=-2.0)
    async with running(Site(bundle, tmp_path / "other")) as site:
        updates = updates_by(site.model, site.catalogue, READERS)
        await site.compare(updates)
        other = load_model(tmp_path / "other")
        histories = [each.history for each in updates if isinstance(each, ReaderUpdate)]
        ages = []
        for model in (site.model, other):
            seen = Eye(catalogue_by(model, ARTICLES), model, 14.0).see(histories)
            assert seen.estimates is not None
            ages.append(seen.estimates.age_years)
        expected = float(abs(ages[0] - ages[1]).sum())
        assert expected > 1.0
        assert site.value("age_difference_years_total") == pytest.approx(expected, abs=0.05)


async def test_whose_articles_cannot_be_encoded_is_left_out(bundle: Path) -> None:
    async with running(Site(bundle, bundle)) as site:
        del site.texts[NAMES[0]]
        await site.compare(updates_by(site.model, site.catalogue, [NAMES[:2], NAMES[2:4]]))
        assert site.value("readers_total") == 1
        assert site.value("articles_total") == 3


async def test_of_who_objects_nothing_is_inferred_here_either(bundle: Path) -> None:
    async with running(Site(bundle, bundle)) as site:
        one, other = updates_by(site.model, site.catalogue, [NAMES[:2], NAMES[2:4]])
        assert isinstance(one, ReaderUpdate)
        await site.compare([one._replace(profile=b""), other])
        assert site.value("readers_total") == 1


async def test_a_batch_brings_so_many_new_articles_at_most(bundle: Path) -> None:
    site = Site(bundle, bundle)
    many = {
        f"b{at}": Article(article_id=f"b{at}", title=f"B {at}") for at in range(NEW_ARTICLES + 9)
    }
    site.catalogue = catalogue_by(site.model, many)
    site.texts = {name: msgspec.json.encode(each) for name, each in many.items()}
    async with running(site):
        readers = [[name] for name in many]
        window = site.model.manifest.max_clicks
        groups = [list(many)[at : at + window] for at in range(0, len(many), window)]
        await site.compare(updates_by(site.model, site.catalogue, [*groups, *readers][:64]))
        assert site.value("articles_total") <= NEW_ARTICLES


@pytest.mark.parametrize("kind", ["missing", "broken"])
async def test_a_broken_one_is_given_up_and_stops_nobody(
    kind: str, bundle: Path, tmp_path: Path
) -> None:
    path = tmp_path / "shadow"
    if kind == "broken":
        shutil.copytree(bundle, path)
        (path / "article_encoder.onnx").write_bytes(b"")
    site = Site(bundle, path)
    await site.shadow.run()  # returns
    assert site.value("failures_total") == 1
    site.shadow.offer(updates_by(site.model, site.catalogue, READERS))  # nobody takes it


async def test_one_that_fails_in_mid_stream_is_given_up(
    bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(bundle, bundle)
    async with running(site):
        site.texts = dict.fromkeys(NAMES, b'{"article_id": 1, "title": "a secret"}')
        site.shadow.offer(updates_by(site.model, site.catalogue, READERS))
        async with asyncio.timeout(10):
            while not site.value("failures_total"):
                await asyncio.sleep(0.01)
    assert "secret" not in caplog.text
    assert "no model is compared: ValidationError" in caplog.text
