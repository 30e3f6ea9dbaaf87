"""What a running worker tells its operators, on a real broker and a real Redis."""

import itertools
import json
import re
import shutil
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from schemas.bundle import load_manifest
from schemas.encoded import EncodedArticle
from schemas.reading_set import ReadingSet
from schemas.records import Profile
from schemas.tokenizer import article_text
from tests.e2e.installation import Installation, installation, wait_until
from tests.expected import histories
from tests.kafka_broker import TestBroker
from tests.other_bundles import exchange, other_model
from worker.catalogue import Catalogue
from worker.eye import Eye
from worker.front_pages import FrontPages
from worker.local.server import RunningServer
from worker.model import Model, load_model
from worker.recommend.options import Options
from worker.recommend.recommender import Recommender
from worker.recommend.statistics import Statistics

PICKED_UP_S = 15.0
"""Within which a new bundle is served; 5 s where tests do not share the machine with others."""

WAITING = '{"status": "waiting"'
ADDRESS = re.compile(r"operations endpoint: 127\.0\.0\.1 port (\d+)")


def address_of(worker: RunningServer) -> str:
    """Return the URL of a worker's endpoint as its log names it."""
    found: list[str] = []

    def is_there() -> bool:
        found[:] = ADDRESS.findall(worker.log_path.read_text())
        return bool(found)

    wait_until("the endpoint is open", is_there)
    return f"http://127.0.0.1:{found[-1]}"


def ask(url: str, token: str | None = None) -> tuple[int, str]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=10
        ) as got:
            return got.status, got.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def series(text: str) -> dict[str, float]:
    """Return the value of each series of a scrape, by name and labels as they are written."""
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def lag_of(url: str) -> dict[str, float]:
    found = series(ask(f"{url}/metrics")[1])
    return {name: value for name, value in found.items() if "consumer_lag" in name}


def is_status(url: str, status: int) -> bool:
    return ask(url)[0] == status


@pytest.fixture
def site(kafka: TestBroker, bundle: Path, tmp_path: Path) -> Iterator[Installation]:
    with installation(kafka.bootstrap_servers, bundle, tmp_path, metrics_port=0) as found:
        yield found


def test_a_worker_tells_what_it_does_and_how_it_is(site: Installation, bundle: Path) -> None:
    topics = site.settings.topics
    worker = site.start_worker(stall_s=2.0, redis_timeout_s=0.2)
    url = address_of(worker)
    wait_until("ready", lambda: is_status(f"{url}/ready", 200))
    now_ms = int(time.time() * 1000)
    click = {"user_id": "a-reader", "article_id": "a", "timestamp": now_ms, "event_id": "e"}
    refused = {**click, "consent": False}
    site.produce(topics.articles, (b"a", b'{"article_id":"a","title":"A","tags":["economy"]}'))
    site.produce(
        topics.clicks,
        *[(b"a-reader", json.dumps(each).encode()) for each in (click, click, refused)],
        (b"x", b"{not json"),
        (b"y", b'{"user_id": 1}'),
    )
    site.wait_until_stored()
    status, text = ask(f"{url}/metrics")
    assert status == 200
    found = series(text)
    assert found[f'frontpage_messages_total{{topic="{topics.clicks}"}}'] == 5
    assert found["frontpage_clicks_total"] == 2
    assert found["frontpage_skipped_total"] == 1
    assert found['frontpage_dead_letters_total{reason="malformed"}'] == 1
    assert found['frontpage_dead_letters_total{reason="invalid"}'] == 1
    assert found['frontpage_dead_letters_total{reason="oversized"}'] == 0
    assert found["frontpage_profiles_total"] >= 1
    assert found["frontpage_catalogue_articles"] == 1
    version = load_manifest(bundle).model_version
    assert found[f'frontpage_model_info{{model_version="{version}"}}'] == 1
    assert found["process_resident_memory_bytes"] > 50e6
    for stage in ("fetch", "decode", "read", "compute", "write", "emit", "commit"):
        assert found[f'frontpage_stage_seconds_count{{stage="{stage}"}}'] >= 1
    wait_until("no lag", lambda: set(lag_of(url).values()) == {0.0})
    for partition in range(4):
        place = f'{{partition="{partition}",topic="{topics.clicks}"}}'
        assert f"frontpage_consumer_lag{place}" in lag_of(url)
    assert "a-reader" not in text
    assert ask(f"{url}/live") == (200, '{"status": "live"}\n')

    # Redis does not answer: no progress, and no fault of the worker's.
    site.redis.client_pause(8_000, all=True)
    site.produce(topics.clicks, (b"r", json.dumps({**click, "event_id": "f"}).encode()))
    wait_until("it says what it waits for", lambda: ask(f"{url}/live")[1].startswith(WAITING))
    assert ask(f"{url}/live") == (200, '{"status": "waiting", "why": ["redis"]}\n')
    site.wait_until_stored()
    found = series(ask(f"{url}/metrics")[1])
    assert found['frontpage_dependency_errors_total{dependency="redis"}'] >= 1
    assert ask(f"{url}/live") == (200, '{"status": "live"}\n')


def test_a_new_bundle_is_served_under_load_and_a_broken_one_is_refused(
    kafka: TestBroker, bundle: Path, newsroom: Path, tmp_path: Path
) -> None:
    mounted = shutil.copytree(bundle, tmp_path / "bundle")
    old, new = load_manifest(mounted), other_model(mounted, tmp_path / "new")
    broken = shutil.copytree(mounted, tmp_path / "broken")
    (broken / "profile_head.onnx").write_bytes(b"half of a gr")
    reading_set = ReadingSet(newsroom)
    with installation(kafka.bootstrap_servers, mounted, tmp_path, metrics_port=0) as site:
        worker = site.start_worker(shadow_bundle=bundle, shadow_share=1.0, log_format="json")
        other = site.start_worker()  # it swaps at another moment
        url, others = address_of(worker), address_of(other)
        wait_until("both are ready", lambda: is_status(f"{others}/ready", 200))
        site.replay().articles(reading_set)
        site.wait_until_stored()
        load = Load(site, reading_set)
        load.start()

        def total(name: str) -> float:
            return series(ask(f"{url}/metrics")[1])[name]

        wait_until("clicks come", lambda: total("frontpage_clicks_total") > 200)
        exchange(broken, mounted)
        wait_until("refused", lambda: total("frontpage_bundles_refused_total") == 1)
        before = total("frontpage_clicks_total")
        exchange(tmp_path / "new", mounted)
        exchanged = time.monotonic()
        served = f'frontpage_model_info{{model_version="{new.model_version}"}}'
        wait_until("served", lambda: served in ask(f"{url}/metrics")[1])
        assert time.monotonic() - exchanged < PICKED_UP_S
        wait_until("served by the other", lambda: served in ask(f"{others}/metrics")[1])
        wait_until("clicks go on", lambda: total("frontpage_clicks_total") > before + 200)
        load.finish()
        site.wait_until_stored()
        assert site.histories() == histories(reading_set.clicks(), site.settings.history_size)
        versions = {each.model_version for each in site.profiles().values()}
        assert new.model_version in versions <= {old.model_version, new.model_version}

        # Each reader's next click: here the same ones again.
        site.replay().clicks(reading_set)
        site.wait_until_stored()
        assert comparable(site.profiles()) == profiles_by(load_model(mounted), reading_set, site)
        assert total("frontpage_bundles_refused_total") == 1
        assert total("frontpage_model_swaps_total") == 1
        assert total("frontpage_shadow_readers_total") > 0
        assert total("frontpage_shadow_failures_total") == 0
        assert worker.is_alive() and other.is_alive()
    lines = [json.loads(line) for line in worker.log_path.read_text().splitlines()]
    said = [line["message"] for line in lines]
    assert len([each for each in said if "bundle refused" in each]) == 1
    assert f"model {new.model_version} is served, with 400 articles" in said
    assert f"model {old.model_version} is compared, and not served" in said


class Load(threading.Thread):
    """Publish a set's clicks, some hundreds a second, round and round; each at least once."""

    def __init__(self, site: Installation, reading_set: ReadingSet) -> None:
        super().__init__()
        self._site = site
        self._clicks = [(each.user_id, msgspec.json.encode(each)) for each in reading_set.clicks()]
        self._is_enough = threading.Event()

    def run(self) -> None:
        size = len(self._clicks)
        for start in itertools.count(0, 50):
            if self._is_enough.is_set() and start >= size:
                return
            part = [self._clicks[at % size] for at in range(start, start + 50)]
            topic = self._site.settings.topic_clicks
            self._site.produce(topic, *((user.encode(), click) for user, click in part))
            self._is_enough.wait(0.05)

    def finish(self) -> None:
        self._is_enough.set()
        self.join()


def profiles_by(
    model: Model, reading_set: ReadingSet, site: Installation
) -> dict[str, dict[str, object]]:
    """Return the profiles that a model makes of the stored histories, without a worker."""
    catalogue = Catalogue(model.manifest.row_width, model.row_dtype)
    for each in reading_set.articles():
        tags = each.tags or []
        text = article_text(each.title, each.body, tags if model.manifest.reads_tags else None)
        row = model.encode([text])[0].tobytes()
        catalogue.put(EncodedArticle(each.article_id, "", row, tags, None, each.language))
    eye = Eye(catalogue, model, site.settings.tag_half_life_days)
    pages = FrontPages(model, Recommender(catalogue, Statistics(2), Options()), eye, 1)
    held = site.histories()
    made = pages.make(list(held), list(held.values()), 1, datetime.now(UTC))
    found = [msgspec.json.decode(page.profile, type=Profile) for page in made]
    return comparable(dict(zip(held, found, strict=True)))


def comparable(profiles: Mapping[str, Profile]) -> dict[str, dict[str, object]]:
    """Return profiles without the one field that tells when they were written."""
    return {
        user: {**msgspec.to_builtins(profile), "updated_at": None}
        for user, profile in profiles.items()
    }
