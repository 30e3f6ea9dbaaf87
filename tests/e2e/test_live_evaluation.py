"""`frontpage evaluate-stream --live`: a worker serves what the same functions give without one."""

import gzip
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from confluent_kafka.admin import AdminClient

from schemas.errors import UnavailableError
from schemas.reading_set import ReadingSet
from tests.e2e.installation import wait_until
from tests.e2e.test_cli import descendants
from tests.kafka_broker import TestBroker
from tests.tiny_sets import write_reading_set
from worker.settings import Settings
from worker.stream_evaluation.command import evaluate_stream
from worker.stream_evaluation.live import live_recommender
from worker.stream_evaluation.live_services import FETCH_WAIT_S
from worker.stream_evaluation.measure import measure
from worker.stream_evaluation.model import build_recommender
from worker.stream_evaluation.protocol import load_stream

DAY_MS = 86_400_000
BEGIN_MS = 1_700_000_000_000


def on(kafka: TestBroker) -> Settings:
    # Of use where it is the embedded broker.
    return Settings(kafka_bootstrap=kafka.bootstrap_servers, fetch_wait_s=FETCH_WAIT_S)


@pytest.fixture
def configured(kafka: TestBroker, monkeypatch: pytest.MonkeyPatch) -> TestBroker:
    monkeypatch.setenv("FRONTPAGE_KAFKA_BOOTSTRAP", kafka.bootstrap_servers)
    monkeypatch.setenv("FRONTPAGE_FETCH_WAIT_S", str(FETCH_WAIT_S))
    # Of other workers, none of which is to be measured.
    monkeypatch.setenv("FRONTPAGE_HISTORY_SIZE", "1")
    return kafka


@pytest.fixture
def small_set(tmp_path: Path) -> Path:
    """Six readers, each of whom clicks six of eight articles, and an impression."""
    clicks = [
        {"user_id": f"u{reader}", "article_id": f"a{(reader + at) % 8}", "timestamp": BEGIN_MS + at}
        for at in range(6)
        for reader in range(6)
    ]
    articles = [{"article_id": f"a{at}", "title": f"news {at}", "tags": ["t"]} for at in range(8)]
    directory = write_reading_set(tmp_path / "set", articles=articles, users=[], clicks=clicks)
    shown = {"candidates": ["a1", "a2"], "clicked": ["a1"], "timestamp": BEGIN_MS + 3}
    with gzip.open(directory / "impressions.jsonl.gz", "wt") as file:
        file.write(json.dumps({"impression_id": "i", "user_id": "u1", **shown}) + "\n")
    return directory


def test_every_page_is_the_one_of_the_evaluation_without_a_worker(
    kafka: TestBroker, newsroom: Path, bundle: Path
) -> None:
    loaded = load_stream(ReadingSet(newsroom), limit=250)
    # By the day, so that many clicks are of one time, some of them one reader's.
    stream = replace(loaded, times_ms=loaded.times_ms // DAY_MS * DAY_MS)
    pairs = set(zip(stream.users.tolist(), stream.times_ms.tolist(), strict=True))
    assert len(pairs) < stream.num_clicks
    called = measure(stream, build_recommender(stream, bundle))
    with live_recommender(stream, bundle, on(kafka)) as recommender:
        live = measure(stream, recommender)
    assert len(live.ranks) > 200
    np.testing.assert_array_equal(live.pages, called.pages)
    np.testing.assert_array_equal(live.ranks, called.ranks)
    np.testing.assert_array_equal(live.page_figures, called.page_figures)
    assert np.isfinite(live.ranks).any()


def test_the_command_leaves_impressions_out_and_no_topics_behind(
    configured: TestBroker, small_set: Path, bundle: Path
) -> None:
    arguments = [str(small_set), "--live", "--configured-kafka", "--bundle", str(bundle), "--json"]
    done = CliRunner().invoke(evaluate_stream, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert "1 impressions left out" in done.stderr
    document = json.loads(done.stdout)
    assert "impressions" not in document["model"]
    assert document["num_scored"] == 33 and document["model"]["overall"]["hr@10"]["value"] > 0.5
    admin = AdminClient({"bootstrap.servers": configured.bootstrap_servers})
    wait_until(
        "no topics left",
        lambda: not any(name.startswith("frontpage-live-") for name in admin.list_topics().topics),
    )


def test_what_is_told_to_stop_stops_everything(
    newsroom: Path, bundle: Path, tmp_path: Path
) -> None:
    arguments = ["evaluate-stream", str(newsroom), "--live", "--bundle", str(bundle)]
    with subprocess.Popen(
        [sys.executable, "-m", "worker.cli", *arguments],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        seen = b""
        while b"model, live:   1%" not in seen:
            part = process.stderr.read1()
            assert part, seen
            seen += part
        assert len(descendants(tmp_path)) > 3
        process.terminate()  # as Ctrl-C, from then on
        rest = process.stderr.read()
    assert process.returncode == 130 and b"Traceback" not in rest
    wait_until("all ended", lambda: not descendants(tmp_path))
    assert not list(tmp_path.glob("frontpage-live-*"))


def test_a_worker_that_ends_ends_the_evaluation(
    kafka: TestBroker, newsroom: Path, bundle: Path
) -> None:
    stream = load_stream(ReadingSet(newsroom), limit=20)
    with (
        pytest.raises(UnavailableError, match="the worker ended"),
        live_recommender(stream, bundle, on(kafka)) as recommender,
    ):
        os.kill(recommender.worker.process.pid, signal.SIGKILL)
        measure(stream, recommender)
