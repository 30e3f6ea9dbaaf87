"""What a running worker tells its operators, on a real broker and a real Redis."""

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.bundle import load_manifest
from tests.e2e.installation import Installation, installation, wait_until
from tests.kafka_broker import TestBroker
from worker.local.server import RunningServer

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


def is_status(url: str, status: int) -> bool:
    return ask(url)[0] == status


@pytest.fixture
def site(kafka: TestBroker, bundle: Path, tmp_path: Path) -> Iterator[Installation]:
    with installation(kafka.bootstrap_servers, bundle, tmp_path, metrics_port=0) as found:
        yield found


def test_a_worker_tells_what_it_does_and_how_it_is(site: Installation, bundle: Path) -> None:
    topics = site.settings.topics
    worker = site.start_worker(stall_s=2.0)
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
    for stage in ("decode", "read", "compute", "write", "emit"):
        assert found[f'frontpage_stage_seconds_count{{stage="{stage}"}}'] >= 1
    lag = {
        name: value for name, value in found.items() if name.startswith("frontpage_consumer_lag")
    }
    assert set(lag.values()) == {0.0}
    assert f'frontpage_consumer_lag{{partition="3",topic="{topics.clicks}"}}' in lag
    assert "a-reader" not in text
    assert ask(f"{url}/live") == (200, '{"status": "live"}\n')
