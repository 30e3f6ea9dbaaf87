"""How a training runs: repeatable, in time, on sets that lack something, and by its commands."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from click.testing import CliRunner

from export.bundle_writer import train_bundle
from export.commands import evaluate as evaluate_command
from export.commands import generate, train
from export.data import load_reader_data
from export.options import TrainingOptions
from export.training import Schedule
from export.training import train as train_network
from schemas.errors import TrainingError
from schemas.reading_set import ReadingSet
from tests.small_networks import (
    small_task,
)
from tests.tiny_sets import write_easy_set, write_reading_set

QUICK = TrainingOptions(encoder="bag", epochs=1, article_tokens=16, max_clicks=8)


@pytest.fixture(scope="module")
def easy_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_easy_set(tmp_path_factory.mktemp("data") / "easy", num_readers=240)


def test_the_same_seed_gives_the_same_network(easy_set: Path) -> None:
    data = load_reader_data(ReadingSet(easy_set))
    states = []
    for _ in range(2):
        model, task = small_task(data)
        train_network(model, task, Schedule(2, 32, 1e-3, "adamw", averaging=0.9, seed=5))
        states.append(model.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_training_stops_when_valid_gets_no_better(easy_set: Path) -> None:
    model, task = small_task(load_reader_data(ReadingSet(easy_set)))
    # With a learning rate this large nothing gets better for long.
    history = train_network(model, task, Schedule(60, 32, 0.5, "adamw", patience=2))
    assert history.stopped == "no better on valid"
    assert len(history.epochs) == history.best_epoch + 2


def test_training_keeps_to_its_time_budget(easy_set: Path) -> None:
    model, task = small_task(load_reader_data(ReadingSet(easy_set)))
    schedule = Schedule(10_000, 32, 1e-5, "adamw", patience=10_000, max_seconds=0.5)
    history = train_network(model, task, schedule)
    assert history.stopped == "time budget"
    assert history.seconds < 10.0


def test_a_set_without_some_labels_and_splits_trains(tmp_path: Path) -> None:
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    dataset = write_reading_set(
        tmp_path / "set",
        articles=[{"article_id": f"a{n}", "title": words[n], "tags": None} for n in range(10)],
        users=[
            {"user_id": f"u{n}", "gender": "female" if n % 3 else "male", "split": "train"}
            for n in range(9)
        ],
        clicks=[
            {"user_id": f"u{n % 9}", "article_id": f"a{n % 10}", "timestamp": n} for n in range(40)
        ],
    )
    manifest = train_bundle(dataset, tmp_path / "out", QUICK)
    assert manifest.metrics == {}
    (epoch,) = manifest.training["history"]
    assert epoch["train"]["age"] == 0.0 and epoch["train"]["gender"] > 0.0


def test_a_set_without_training_readers_is_refused(tmp_path: Path) -> None:
    dataset = write_reading_set(
        tmp_path / "set",
        articles=[{"article_id": "a", "title": "some words"}],
        users=[{"user_id": "u", "age": 30, "split": "test"}],
        clicks=[{"user_id": "u", "article_id": "a", "timestamp": 1}],
    )
    with pytest.raises(TrainingError, match="train split"):
        train_bundle(dataset, tmp_path / "out", TrainingOptions())


def run_json(command: Any, *arguments: str | Path) -> Any:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return msgspec.json.decode(result.stdout)


def test_the_commands_print_one_json_document_each(tmp_path: Path) -> None:
    dataset, bundle = tmp_path / "set", tmp_path / "bundle"
    facts = run_json(generate, dataset, "--articles", 200, "--readers", 120, "--json")
    assert facts["num_readers"] == 120
    options = ("--epochs", 1, "--article-tokens", 16, "--loss-weights", "gender=3", "--json")
    made = run_json(train, dataset, "--out", bundle, *options)
    assert made["manifest"]["training"]["loss_weights"]["gender"] == 3.0
    result = run_json(evaluate_command, bundle, dataset, "--split", "valid", "--json")
    assert result["model_version"] == made["manifest"]["model_version"]
    assert set(result["model"]["gender"]["auc"]) == {"value", "low", "high"}


def test_a_missing_torch_is_named() -> None:
    code = """
import sys
sys.modules["torch"] = None
from export.commands import train
from schemas.errors import TrainingError
try:
    train.main(["x", "--out", "y"], standalone_mode=False)
except TrainingError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'frontpage[train]'" in done.stdout


def test_finding_the_commands_loads_no_torch() -> None:
    code = "import export.commands, sys; print({'torch', 'onnx', 'onnxruntime'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
