"""A training stopped and resumed, or spread over processes, ends as if it were neither."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from export.architectures import TWO_STAGE_SCHEDULE
from export.averaging import to_tensors
from export.batches import Batcher
from export.bundle_writer import train_bundle
from export.checkpoints import FILE, Checkpoints
from export.data import ReaderData, load_reader_data
from export.heads import LossWeights
from export.options import TrainingOptions
from export.training import train
from schemas.bundle import load_manifest
from schemas.errors import TrainingError
from schemas.reading_set import ReadingSet
from tests.small_networks import small_task
from tests.tiny_sets import write_easy_set

SCHEDULE = replace(TWO_STAGE_SCHEDULE, epochs=3, batch_readers=29, averaging=0.9)


@pytest.fixture(scope="module")
def easy_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_easy_set(tmp_path_factory.mktemp("data") / "easy")


@pytest.fixture(scope="module")
def data(easy_set: Path) -> ReaderData:
    return load_reader_data(ReadingSet(easy_set))


def small(data: ReaderData, is_interrupted: bool = False) -> Any:
    model, task = small_task(data)
    batches = Interrupted(task.batches) if is_interrupted else task.batches
    return model, replace(task, balance="uncertainty", batches=batches)


class Interrupted:
    """Batches of which the last of the second epoch is never drawn."""

    def __init__(self, batches: Batcher) -> None:
        self.newest = batches.newest
        self._batches, self._drawn = batches, 0

    def sample(self, *arguments: Any) -> Any:
        self._drawn += 1
        # Three for the checkpoint's identity, three of the first epoch and three to judge it.
        if self._drawn == 12:
            raise KeyboardInterrupt
        return self._batches.sample(*arguments)


def test_a_resumed_training_ends_with_the_same_weights(data: ReaderData, tmp_path: Path) -> None:
    whole, task = small(data)
    expected = train(whole, task, SCHEDULE)
    stopped, task = small(data, is_interrupted=True)
    with pytest.raises(KeyboardInterrupt):
        train(stopped, task, SCHEDULE, Checkpoints(tmp_path))
    resumed, task = small(data)
    torch.manual_seed(99)  # what chance was before does not matter
    history = train(resumed, task, SCHEDULE, Checkpoints(tmp_path, resume=True))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert len(history.epochs) == 3
    assert [e["valid"] for e in history.epochs] == [e["valid"] for e in expected.epochs]
    assert history.best_epoch == expected.best_epoch
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_finished_training_is_not_trained_again(data: ReaderData, tmp_path: Path) -> None:
    first, task = small(data)
    train(first, task, SCHEDULE, Checkpoints(tmp_path))
    again, task = small(data, is_interrupted=True)
    history = train(again, task, SCHEDULE, Checkpoints(tmp_path, resume=True))
    assert len(history.epochs) == 3
    assert all(
        torch.equal(value, again.state_dict()[name]) for name, value in first.state_dict().items()
    )


@pytest.mark.parametrize(
    ("schedule", "weights", "named"),
    [
        ({"seed": 7}, {}, "options, seed is 0 there and 7 here"),
        ({"epochs": 9}, {}, "options, epochs is 3 there and 9 here"),
        ({}, {"age": 5.0}, "loss weights, age is 1.0 there and 5.0 here"),
    ],
)
def test_a_checkpoint_of_other_options_is_refused(
    data: ReaderData, tmp_path: Path, schedule: Any, weights: Any, named: str
) -> None:
    model, task = small(data)
    train(model, task, replace(SCHEDULE, patience=1, learning_rate=0.002), Checkpoints(tmp_path))
    changed = replace(
        task, weights=LossWeights(**{"age": 1.0, "income": 0.5, "gender": 2.0, **weights})
    )
    other = replace(SCHEDULE, patience=1, learning_rate=0.002, **schedule)
    with pytest.raises(TrainingError, match=named):
        train(model, changed, other, Checkpoints(tmp_path, resume=True))


def test_a_checkpoint_of_other_data_is_refused(data: ReaderData, tmp_path: Path) -> None:
    model, task = small(data)
    train(model, task, replace(SCHEDULE, epochs=1), Checkpoints(tmp_path / "state"))
    other = load_reader_data(ReadingSet(write_easy_set(tmp_path / "other", seed=5)))
    model, task = small(other)
    with pytest.raises(TrainingError, match="of another training: set, content differs"):
        train(model, task, replace(SCHEDULE, epochs=1), Checkpoints(tmp_path / "state", True))


def test_a_damaged_checkpoint_is_named(data: ReaderData, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"half a file")
    model, task = small(data)
    with pytest.raises(TrainingError, match=r"checkpoint\.pt: not a checkpoint, or damaged"):
        train(model, task, SCHEDULE, Checkpoints(tmp_path, resume=True))


def test_resuming_needs_a_directory(easy_set: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="resume needs a checkpoint"):
        train_bundle(easy_set, tmp_path / "out", TrainingOptions(resume=True))


def test_bfloat16_trains_and_float32_differs(data: ReaderData) -> None:
    states = {}
    for precision in ("auto", "float32", "bfloat16"):
        model, task = small(data)
        schedule = replace(SCHEDULE, precision=precision)
        history = train(model, task, schedule)
        assert history.epochs[-1]["valid"]["gender"] < history.epochs[0]["valid"]["gender"]
        states[precision] = model.state_dict()
        assert all(value.dtype != torch.bfloat16 for value in states[precision].values())
    same = [torch.equal(states["auto"][name], states["float32"][name]) for name in states["auto"]]
    mixed = [torch.equal(states["auto"][name], states["bfloat16"][name]) for name in states["auto"]]
    assert all(same) != torch.cuda.is_available()
    assert not all(mixed) or torch.cuda.is_available()


def test_a_share_without_readers_is_no_error(data: ReaderData) -> None:
    model, task = small(data)
    readers = data.readers_of("train")[:1]
    nobody = task.batches.sample(readers, np.random.default_rng(0), slice(0, 0))
    outputs = model.eval()(*to_tensors(nobody, torch.device("cpu")))
    assert outputs.gender.shape == (0,)


def test_shares_make_up_the_whole_batch(data: ReaderData) -> None:
    _, task = small(data)
    readers = data.readers_of("train")[:9]
    whole, *parts = [
        task.batches.sample(readers, np.random.default_rng(4), share)
        for share in (slice(None), slice(0, 4), slice(4, 9))
    ]
    clicked = [
        tokens[row][mask > 0].tolist()
        for tokens, rows, _, masks, *_ in (whole, *parts)
        for row, mask in zip(rows, masks, strict=True)
    ]
    trimmed = [[[t for t in article if t] for article in reader] for reader in clicked]
    assert trimmed[:9] == trimmed[9:]


def run_process(launcher: list[str], *arguments: str | Path) -> None:
    command = [sys.executable, *launcher, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr


TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]


def test_two_processes_train_what_one_does(easy_set: Path, tmp_path: Path) -> None:
    weights, facts = [], []
    for name, launcher in (("one", ["-m"]), ("two", TORCHRUN)):
        (tmp_path / name).mkdir()
        run_process([*launcher, "tests.training_process"], easy_set, tmp_path / name)
        weights.append(torch.load(tmp_path / name / "weights.pt", weights_only=True))
        facts.append(msgspec.json.decode((tmp_path / name / "facts.json").read_bytes()))
    assert [fact["processes"] for fact in facts] == [1, 2]
    for one, two in zip(facts[0]["epochs"], facts[1]["epochs"], strict=True):
        for kind in ("train", "valid", "balance"):
            assert one[kind] == pytest.approx(two[kind], abs=1e-3), kind
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], atol=5e-3, rtol=0.0)


def test_the_train_command_runs_under_torchrun(easy_set: Path, tmp_path: Path) -> None:
    one = train_bundle(
        easy_set, tmp_path / "one", TrainingOptions(epochs=3, article_tokens=16, max_clicks=8)
    )
    options = ("--epochs", "3", "--article-tokens", "16", "--max-clicks", "8")
    run_process([*TORCHRUN, "worker.cli", "train"], easy_set, "--out", tmp_path / "two", *options)
    two = load_manifest(tmp_path / "two")
    first, second = (manifest.training["history"][-1]["valid"] for manifest in (one, two))
    assert first == pytest.approx(second, abs=0.15)  # dropout is each process's own
    figures = [made.metrics["model"]["gender"]["auc"]["value"] for made in (one, two)]
    assert figures[0] == pytest.approx(figures[1], abs=0.05)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]
