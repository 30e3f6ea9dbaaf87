"""`frontpage compare`: variants and twins on a tiny set, resumed from its log."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result

from export.compare_command import compare
from schemas.errors import TrainingError
from tests.tiny_sets import OLD, YOUNG, write_reading_set

ENCODERS = "encoder=bag,nothing"
BASE = 'encoder = "conv1d"\nepochs = 1\narticle_tokens = 16\nmax_clicks = 8\n'


def gender_set(out: Path) -> Path:
    """Write a set with genders only, in which women and men read different words."""
    rng = np.random.default_rng(0)
    words = (OLD.split(), YOUNG.split())
    return write_reading_set(
        out,
        articles=[
            {"article_id": f"a{n}", "title": " ".join(rng.choice(words[n % 2], 6))}
            for n in range(40)
        ],
        users=[
            {
                "user_id": f"u{n}",
                "gender": "male" if n % 2 else "female",
                "split": ("train", "train", "valid")[n // 2 % 3],
            }
            for n in range(60)
        ],
        clicks=[
            {
                "user_id": f"u{n}",
                "article_id": f"a{2 * rng.integers(20) + n % 2}",
                "timestamp": 1_700_000_000_000 + step,
                "event_id": f"e{n}-{step}",
            }
            for n in range(60)
            for step in range(5)
        ],
        num_income_groups=2,
    )


def ran(directory: Path, *more: str) -> Result:
    arguments = [str(directory / "set"), "--config", str(directory / "base.toml"), *more]
    return CliRunner().invoke(compare, [*arguments, "--log", str(directory / "log.jsonl")])


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    directory = tmp_path_factory.mktemp("compare")
    gender_set(directory / "set")
    (directory / "base.toml").write_text(BASE)
    return directory, ran(directory, "--vary", ENCODERS, "--twins", "--seeds", "1", "--json")


def lines_of(log: Path) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in log.read_bytes().splitlines()]


def test_a_failed_variant_does_not_lose_the_others(compared: tuple[Path, Result]) -> None:
    directory, result = compared
    assert result.exit_code == 1, result.output
    document = msgspec.json.decode(result.stdout)
    assert document["split"] == "valid"
    good, bad, twin, bad_twin = document["variants"]
    assert (good["name"], bad["name"]) == ("encoder=bag", "encoder=nothing")
    assert twin["name"] == "only gender encoder=bag"
    assert bad["errors"] == bad_twin["errors"]
    assert "no encoder 'nothing'" in bad["errors"][0]
    assert not good["errors"] and not twin["errors"]
    # Four runs were made: they are all in the log, the failed ones too.
    assert [line["error"] is None for line in lines_of(directory / "log.jsonl")] == [
        True,
        False,
        True,
        False,
    ]


def test_a_record_tells_quality_size_and_cost(compared: tuple[Path, Result]) -> None:
    record = msgspec.json.decode(compared[1].stdout)["variants"][0]
    assert set(record["figures"]) == {"gender"}, "the other heads have no labels"
    assert 0.0 <= record["figures"]["gender"]["auc"]["mean"] <= 1.0
    assert record["figures"]["gender"]["auc"]["share"] > 0.0
    assert record["parameters"] > 1_000
    assert record["bundle_mb"] > 0.0
    assert record["article_us"] > 0.0
    assert record["training_seconds"] > 0.0


def test_runs_in_the_log_are_not_repeated(
    compared: tuple[Path, Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, _ = compared
    before = len(lines_of(directory / "log.jsonl"))
    # An interrupted write must not lose the rest.
    with (directory / "log.jsonl").open("ab") as log:
        log.write(b'{"dataset": "cut')
    trained: list[str] = []

    def refuse(_dataset: Path, _out: Path, options: Any, **_: Any) -> None:
        trained.append(options.encoder)
        raise TrainingError("not again")

    monkeypatch.setattr("export.compare.train_bundle", refuse)
    result = ran(directory, "--vary", ENCODERS, "--twins", "--seeds", "1")
    assert trained == ["nothing", "nothing"], "what failed is tried again"
    assert "encoder=bag, seed 0: in the log" in result.stderr
    assert "share of the single-task twin's score" in result.stdout
    assert "failed: encoder=nothing: not again" in result.stdout
    assert len(lines_of(directory / "log.jsonl")) == before + 2


def test_another_seed_is_another_run(
    compared: tuple[Path, Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, _ = compared
    seeds: list[int] = []

    def refuse(_dataset: Path, _out: Path, options: Any, **_: Any) -> None:
        seeds.append(options.seed)
        raise TrainingError("not again")

    monkeypatch.setattr("export.compare.train_bundle", refuse)
    ran(directory, "--vary", "encoder=bag", "--seeds", "3")
    assert seeds == [1, 2]


def test_a_split_without_readers_is_refused(compared: tuple[Path, Result]) -> None:
    result = ran(compared[0], "--twins", "--split", "test")
    assert isinstance(result.exception, TrainingError)
    assert "no reader in the test split" in str(result.exception)


def test_what_is_measured_on_valid_has_not_learned_from_valid(
    compared: tuple[Path, Result],
) -> None:
    directory, _ = compared
    assert {run["split"] for run in lines_of(directory / "log.jsonl")} == {"valid"}
    learned = {run["options"]["learns_valid"] for run in lines_of(directory / "log.jsonl")}
    assert learned == {False}, "whatever the recipe says"
    refused = ran(directory, "--vary", "learns_valid=true,false")
    assert isinstance(refused.exception, TrainingError)
    assert "test split only" in str(refused.exception)
