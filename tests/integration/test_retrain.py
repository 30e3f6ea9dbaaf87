"""`frontpage retrain`: a model that is worse does not take the running one's place."""

import fcntl
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from export.options import TrainingOptions
from export.retrain import Paths, locked, retrain, ship
from export.retrain_command import retrain as command
from schemas.bundle import load_manifest
from schemas.errors import BundleError, TrainingError
from tests.tiny_sets import write_easy_set

QUICK = "epochs = 1\narticle_tokens = 16\nmax_clicks = 4\n"
GOOD = QUICK.replace("1", "5", 1)
SPOILED = f'{QUICK}loss_weights = "age=1,income=1,gender=0"\n'


@pytest.fixture(scope="module")
def easy_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_easy_set(tmp_path_factory.mktemp("data") / "easy", num_readers=240)


@pytest.fixture(scope="module")
def first(easy_set: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """The first retraining, where no model runs yet."""
    directory = tmp_path_factory.mktemp("first")
    return directory / "bundle", run(easy_set, directory / "bundle", GOOD)


@pytest.fixture
def running(first: tuple[Path, Result], tmp_path: Path) -> Path:
    return shutil.copytree(first[0], tmp_path / "bundle")


def run(dataset: Path, bundle: Path, options: str, *more: str) -> Result:
    config = bundle.parent / "options.toml"
    config.write_text(options)
    arguments = [str(dataset), "--bundle", str(bundle), "--config", str(config), *more]
    return CliRunner().invoke(command, arguments)


def contents(bundle: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()}


def siblings(bundle: Path) -> set[str]:
    return {path.name for path in bundle.parent.iterdir() if path.is_dir()}


def test_where_none_runs_a_model_no_worse_than_the_constant_ships(
    first: tuple[Path, Result],
) -> None:
    bundle, result = first
    assert result.exit_code == 0, result.output
    manifest = load_manifest(bundle)
    assert f"shipped: {bundle} is model {manifest.model_version}" in result.stdout
    decision: dict[str, Any] = manifest.training["retrain"]
    assert (decision["verdict"], decision["running"]) == ("ship", None)
    assert {each["against"] for each in decision["comparisons"]} == {"constant"}
    assert siblings(bundle) == {"bundle"}


def test_a_model_no_worse_ships_and_the_old_one_is_kept(easy_set: Path, running: Path) -> None:
    old = load_manifest(running).model_version
    result = run(easy_set, running, QUICK, "--seed", "1", "--json", "--tolerance", "1e9")
    assert result.exit_code == 0, result.output
    decision = json.loads(result.stdout)
    assert (decision["shipped"], decision["running"]) == (True, old)
    assert load_manifest(running).model_version == decision["candidate"] != old
    assert load_manifest(running.with_name("bundle.previous")).model_version == old
    assert siblings(running) == {"bundle", "bundle.previous"}
    heads = [(each["head"], each["against"]) for each in decision["comparisons"]]
    assert heads == [
        (head, against)
        for against in ("running", "constant")
        for head in ("gender", "age", "income")
    ]


def test_a_model_that_starves_a_head_is_refused(easy_set: Path, running: Path) -> None:
    before = contents(running)
    result = run(easy_set, running, SPOILED)
    assert result.exit_code == 3, result.output
    assert "refused: gender log_loss" in result.stdout
    assert contents(running) == before
    candidate = load_manifest(running.with_name("bundle.candidate"))
    assert candidate.training["retrain"]["verdict"] == "refuse"
    assert siblings(running) == {"bundle", "bundle.candidate"}


def test_too_few_test_readers_decide_nothing_unless_forced(tmp_path: Path) -> None:
    """By the console script; then forced, and as a dry run that leaves the running bundle."""
    few = write_easy_set(tmp_path / "few", num_readers=80)
    bundle = tmp_path / "bundle"
    refused = subprocess.run(
        [sys.executable, "-m", "worker.cli", "retrain", str(few), "--bundle", str(bundle)],
        capture_output=True,
        text=True,
    )
    assert refused.returncode == 3, refused.stderr
    assert "refused: 20 labelled test readers are fewer than 30" in refused.stdout
    assert siblings(bundle) == {"few"}
    forced = run(few, bundle, QUICK, "--force", "--dry-run", "--json", "--tolerance", "9")
    assert (forced.exit_code, json.loads(forced.stdout)["shipped"]) == (0, False)
    assert siblings(bundle) == {"few", "bundle.candidate"}


def test_other_income_groups_are_an_error(easy_set: Path, running: Path, tmp_path: Path) -> None:
    other = shutil.copytree(easy_set, tmp_path / "other")
    (other / "dataset.json").write_text('{"name": "other", "num_income_groups": 3}')
    with pytest.raises(TrainingError, match="income groups"):
        retrain(other, running, TrainingOptions())


def test_a_broken_running_bundle_is_an_error(easy_set: Path, running: Path) -> None:
    (running / "tokenizer.model").write_bytes(b"")
    with pytest.raises(BundleError, match=r"tokenizer\.model"):
        retrain(easy_set, running, TrainingOptions())


def test_what_is_not_a_bundle_is_left_alone(easy_set: Path, running: Path) -> None:
    for name in ("bundle.previous", "bundle.candidate"):
        mine = running.with_name(name)
        mine.mkdir()
        (mine / "letter").touch()
        with pytest.raises(BundleError, match="is not a bundle"):
            retrain(easy_set, running, TrainingOptions(epochs=1, article_tokens=16, max_clicks=4))
        shutil.rmtree(mine)


def test_two_do_not_retrain_one_bundle_at_once(easy_set: Path, running: Path) -> None:
    with locked(Paths(running)), pytest.raises(BundleError, match="by another process"):
        retrain(easy_set, running, TrainingOptions())


def test_the_lock_of_a_killed_process_does_not_block(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "bundle")
    holder = subprocess.Popen(
        [sys.executable, "-c", "import fcntl, sys, time\n"
         "file = open(sys.argv[1], 'a'); fcntl.flock(file, fcntl.LOCK_EX)\n"
         "print('held', flush=True); time.sleep(60)", str(paths.lock)],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    with pytest.raises(BundleError), locked(paths):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with locked(paths), paths.lock.open("a") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_bundle_before_the_last_is_not_kept(running: Path) -> None:
    paths = Paths(running)
    for number in range(3):
        shutil.copytree(running, paths.candidate, dirs_exist_ok=True)
        (paths.candidate / "number").write_text(str(number))
        ship(paths)
    assert (paths.running / "number").read_text() == "2"
    assert (paths.previous / "number").read_text() == "1"
    assert siblings(running) == {"bundle", "bundle.previous"}


def test_an_empty_directory_is_where_the_first_goes(running: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    paths = Paths(empty)
    running.rename(paths.candidate)
    ship(paths)
    load_manifest(empty)
    assert siblings(empty) == {"empty"}
