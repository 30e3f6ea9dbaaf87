"""`frontpage train-blend` on a real bundle, and what readers told in place of what is inferred."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from schemas.bundle import BLEND_FILE, load_manifest
from schemas.errors import FrontpageError
from schemas.reading_set import ReadingSet
from worker.model import load_model
from worker.recommend.statistics import Statistics
from worker.stream_evaluation.attributes import ToldAttributes
from worker.stream_evaluation.command import evaluate_stream
from worker.stream_evaluation.protocol import load_stream
from worker.stream_evaluation.train_command import train_blend

CLICKS = 600


@pytest.fixture(scope="module")
def trained(bundle: Path, newsroom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("blend") / "bundle"
    shutil.copytree(bundle, copy)
    (copy / "notes.txt").write_text("not the bundle's")
    result = CliRunner().invoke(
        train_blend, [str(newsroom), "--bundle", str(copy), "--limit", str(CLICKS)]
    )
    assert result.exit_code == 0, result.output
    assert f"2 x {CLICKS} clicks" in result.output
    return copy


def test_the_bundle_keeps_its_model_and_gains_weights(bundle: Path, trained: Path) -> None:
    before, after = load_manifest(bundle), load_manifest(trained)
    assert after.model_version == before.model_version
    assert BLEND_FILE in after.files and BLEND_FILE not in before.files
    learned = load_model(trained).blend
    assert learned is not None and learned.num_clicks == CLICKS
    begun = Statistics(8, learned=learned).blend.weights
    assert not np.allclose(begun, Statistics(8).blend.weights, atol=0.01)
    assert load_model(bundle).blend is None
    assert not (trained / "notes.txt").exists()


def test_a_changed_file_of_weights_is_noticed(trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(trained, copy)
    (copy / BLEND_FILE).write_text("{}")
    with pytest.raises(Exception, match="checksum"):
        load_model(copy)


def test_true_attributes_are_measured_beside_those_of_others(trained: Path, newsroom: Path) -> None:
    arguments = [str(newsroom), "--bundle", str(trained), "--limit", "300", "--ablations", "--json"]
    result = CliRunner().invoke(evaluate_stream, arguments)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["ablations"]
    assert {"true attributes", "shuffled attributes", "readers-like-you"} <= set(found)
    reading_set = ReadingSet(newsroom)
    stream = load_stream(reading_set)
    told = ToldAttributes(stream, reading_set, shuffled=False)
    others = ToldAttributes(stream, reading_set, shuffled=True)
    assert len(told) == len(others) > 100
    labels = {each.user_id: each for each in reading_set.readers()}
    kept: list[bool] = []
    for user in range(200):
        label, true, other = labels[stream.user_ids[user]], told.of(user), others.of(user)
        if label.age is not None:
            assert true.age_years[0] == label.age and true.age_sd[0] < 2
            kept.append(bool(other.age_years[0] == label.age))
        if label.gender is not None:
            assert true.female[0] == (label.gender == "female")
        if label.income_group is None:
            assert np.allclose(true.income, 0.1)
        else:
            assert true.income[0, label.income_group] == 1.0
    assert len(kept) > 50 and np.mean(kept) < 0.3


def test_a_bundle_of_other_income_groups_is_refused_before_anything_is_measured(
    bundle: Path, newsroom: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "newsroom"
    shutil.copytree(newsroom, copy)
    info = json.loads((copy / "dataset.json").read_text())
    (copy / "dataset.json").write_text(json.dumps({**info, "num_income_groups": 12}))
    arguments = [str(copy), "--bundle", str(bundle), "--limit", "300", "--ablations"]
    result = CliRunner().invoke(evaluate_stream, arguments)
    assert isinstance(result.exception, FrontpageError)
    assert "10 income groups" in str(result.exception)
