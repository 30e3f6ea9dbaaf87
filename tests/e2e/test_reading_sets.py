"""Real reading sets, where they are: trained on, exported, streamed through, checked in full."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from schemas.reading_set import ReadingSet
from tests.e2e.installation import installation
from tests.expected import histories
from tests.kafka_broker import REPOSITORY, TestBroker

DATA = REPOSITORY.parent / "shared" / "data"


@pytest.mark.parametrize("name", ["ml-100k", "nemig-de"])
def test_a_real_reading_set_trains_exports_and_streams(
    kafka: TestBroker, tmp_path: Path, name: str
) -> None:
    if not (DATA / name).is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI needs the reading set {name}")
        pytest.skip(f"{name} is not here")
    reading_set = ReadingSet(DATA / name)
    bundle = tmp_path / "bundle"
    budget = ["--max-seconds", "10", "--no-measure"]
    command = ["train", str(DATA / name), "--out", str(bundle), *budget]
    subprocess.run([sys.executable, "-m", "worker.cli", *command], check=True)
    with installation(kafka.bootstrap_servers, bundle, tmp_path) as site:
        site.start_worker()
        run = site.replay()
        run.articles(reading_set)
        run.clicks(reading_set)
        site.wait_until_stored()
        expected = histories(reading_set.clicks(), site.settings.history_size)
        assert site.histories() == expected
        profiles, pages = site.profiles(), site.recommendations()
        assert set(profiles) == set(pages) == set(expected)
        num_clicks = sum(profile.num_clicks for profile in profiles.values())
        assert num_clicks == sum(1 for _ in reading_set.clicks())
        clicked = {(each.user_id, each.article_id) for each in reading_set.clicks()}
        for user_id, page in pages.items():
            assert page.items
            assert clicked.isdisjoint((user_id, item.article_id) for item in page.items)
