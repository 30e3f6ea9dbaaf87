"""Evaluation with estimators whose figures are known; the optimum and the model card."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from export.card import write_card
from export.data import ReaderData, load_reader_data
from export.evaluation import as_table, evaluate_data
from export.evaluation.figures import with_clicks
from export.evaluation.optimum import Optimum
from export.newsroom import load_histories, load_truth
from schemas.errors import ReadingSetError, TrainingError
from schemas.reading_set import ReadingSet
from tests.known_readers import Oracle, labelled_set
from tests.tiny_sets import write_easy_set

HEADS = {
    "gender": {"auc", "accuracy", "log_loss", "ece"},
    "age": {"mae", "r", "coverage80"},
    "income": {"accuracy", "log_loss", "ece"},
}
NOTHING = {"value": None, "low": None, "high": None}


@pytest.fixture(scope="module")
def easy(tmp_path_factory: pytest.TempPathFactory) -> ReaderData:
    return load_reader_data(ReadingSet(write_easy_set(tmp_path_factory.mktemp("set") / "easy")))


@pytest.fixture(scope="module")
def result(easy: ReaderData) -> dict[str, Any]:
    return evaluate_data(Oracle(easy.income_groups), easy, "test")


# The document


def test_every_figure_is_there_for_everyone(result: dict[str, Any]) -> None:
    for whose in ("model", "baseline", "constant"):
        assert {head: set(names) for head, names in result[whose].items()} == HEADS
    figures = [f for names in result["model"].values() for f in names.values()]
    assert all(set(figure) == {"value", "low", "high"} for figure in figures)
    assert result["readers"] == 30 and result["split"] == "test"


def test_few_clicks_are_measured_on_the_readers_who_have_them(result: dict[str, Any]) -> None:
    """Everyone in this set has six clicks."""
    by_clicks = result["by_num_clicks"]
    assert {n: entry["readers"] for n, entry in by_clicks.items()} == {
        "1": 30, "2": 30, "5": 30, "10": 0, "20": 0,
    }  # fmt: skip
    assert [by_clicks[n]["age"]["mae"]["value"] for n in ("1", "2", "5")] == [9.0, 8.0, 5.0]
    assert by_clicks["20"]["age"]["mae"] == NOTHING
    for entry in by_clicks.values():
        for heads in (entry, entry["baseline"], entry["constant"]):
            assert {head: set(heads[head]) for head in HEADS} == HEADS


def test_the_baseline_learns_what_is_plain_to_see(result: dict[str, Any]) -> None:
    assert result["baseline"]["gender"]["auc"]["value"] > 0.95
    assert result["baseline"]["age"]["mae"]["value"] < 6.0
    assert result["baseline"]["income"]["accuracy"]["value"] > 0.95


def test_without_a_baseline_its_figures_are_null(easy: ReaderData) -> None:
    got = evaluate_data(Oracle(easy.income_groups), easy, "test", with_baseline=False)
    assert {head: set(names) for head, names in got["baseline"].items()} == HEADS
    assert all(f == NOTHING for names in got["baseline"].values() for f in names.values())
    assert "-" in as_table(got)


def test_a_head_without_labels_keeps_its_keys(tmp_path: Path) -> None:
    users = [
        {"user_id": f"u{n}", "gender": "female", "split": ("train", "test")[n % 2]}
        for n in range(12)
    ]
    data = labelled_set(tmp_path / "set", users)
    got = evaluate_data(Oracle(data.income_groups), data, "test")
    for whose in ("model", "baseline", "constant"):
        assert all(figure == NOTHING for figure in got[whose]["age"].values())
        assert all(figure == NOTHING for figure in got[whose]["income"].values())
        assert got[whose]["gender"]["auc"] == NOTHING  # nobody to tell women from
        assert got[whose]["gender"]["accuracy"]["value"] == 1.0
    as_table(got)


def test_other_income_groups_are_refused(easy: ReaderData) -> None:
    with pytest.raises(TrainingError, match="income groups"):
        evaluate_data(Oracle(["low", "middle", "high"]), easy, "test")


def test_the_table_shows_all_figures_and_every_number_of_clicks(result: dict[str, Any]) -> None:
    main, by_clicks = as_table(result).split("\n\n")
    assert len(main.splitlines()) == 2 + 10
    assert by_clicks.splitlines()[1].split() == ["clicks", "1", "2", "5", "10", "20"]


def test_evaluation_loads_no_torch_and_names_what_a_baseline_needs(tmp_path: Path) -> None:
    path = write_easy_set(tmp_path / "set", num_readers=16)
    code = f"""
import sys
from pathlib import Path
from types import SimpleNamespace
sys.modules["sklearn"] = None
from export.data import load_reader_data
from export.evaluation import evaluate_data
from export.evaluation.constant import Constant
from schemas.errors import TrainingError
from schemas.reading_set import ReadingSet
data = load_reader_data(ReadingSet(Path({str(path)!r})))
model = Constant(data)
model.manifest = SimpleNamespace(
    income_groups=data.income_groups, model_version="v", training={{}}, age_mean_years=40.0
)
evaluate_data(model, data, "test", with_baseline=False)
try:
    evaluate_data(model, data, "test")
except TrainingError as error:
    print(error, "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--no-baseline" in done.stdout and "False" in done.stdout


def test_a_set_without_training_readers_is_measured_beside_the_bundle_s_prior(
    tmp_path: Path,
) -> None:
    users = [
        {"user_id": f"u{n}", "age": 30 + n, "gender": ("male", "female")[n % 2], "split": "test"}
        for n in range(6)
    ]
    data = labelled_set(tmp_path / "set", users)
    got = evaluate_data(Oracle(data.income_groups), data, "test")
    assert got["baseline"]["gender"]["auc"] == NOTHING
    assert got["constant"]["age"]["mae"]["value"] == pytest.approx(44.0 - 32.5)


# The optimum of a newsroom


def test_the_optimum_is_the_newsroom_s_exact_posterior(newsroom: Path) -> None:
    data = load_reader_data(ReadingSet(newsroom))
    truth = load_truth(newsroom)
    readers = data.readers_of("test")
    found = Optimum(newsroom).estimate(data, readers, 5)
    known = {each.user.user_id: each for each in load_histories(newsroom, truth, "test")}
    for row, reader in enumerate(readers):
        exact = known[data.user_ids[reader]].posterior(truth, 5)
        assert found.female[row] == pytest.approx(exact.female, abs=1e-6)
        assert found.age_years[row] == exact.age_years
        assert found.income[row] == pytest.approx(exact.income, abs=1e-6)


def test_beside_itself_the_optimum_has_ratio_one(newsroom: Path) -> None:
    data = load_reader_data(ReadingSet(newsroom))
    model = Optimum(newsroom)
    model.manifest = Oracle(data.income_groups).manifest  # type: ignore[attr-defined]
    got = evaluate_data(model, data, "test", directory=newsroom, with_baseline=False)  # type: ignore[arg-type]
    for num_clicks, entry in got["optimum"].items():
        readers = with_clicks(data, data.readers_of("test"), int(num_clicks))
        assert entry["readers"] == len(readers)
        ratios = [f["value"] for figures in entry["ratio"].values() for f in figures.values()]
        assert ratios == [1.0] * 6
    assert "optimum" in as_table(got)


def test_clicks_that_are_not_of_the_truth_are_an_error(newsroom: Path) -> None:
    data = load_reader_data(ReadingSet(newsroom))
    data = replace(data, clicks=np.full_like(data.clicks, data.clicks[0]))
    with pytest.raises(ReadingSetError, match=r"truth\.json"):
        Optimum(newsroom).estimate(data, data.readers_of("test"))


# Model card


def test_the_card_shows_figures_and_plots_and_nobody_s_id(
    result: dict[str, Any], easy: ReaderData, tmp_path: Path
) -> None:
    manifest = Oracle(easy.income_groups).manifest
    text = write_card(tmp_path, result, manifest).read_text()
    assert manifest.model_version in text and "MIT" in text
    assert r"a\|set" in text  # a name cannot break the table
    for wanted in ("## Intended use", "## Limits", "## Figures", "## After few clicks"):
        assert wanted in text
    words = set(text.replace("|", " ").split())
    assert words.isdisjoint(easy.user_ids)
    plots = sorted(path.name for path in (tmp_path / "card").glob("*.png"))
    assert len(plots) == 5 and all(f"]({name})" in text for name in plots)
    for name in plots:
        path = tmp_path / "card" / name
        assert path.stat().st_size < 60_000
        with Image.open(path) as image:
            assert len(image.convert("RGB").getcolors(1 << 20) or ()) > 3  # something is drawn


def test_a_card_can_be_written_of_almost_nothing(tmp_path: Path) -> None:
    users = [{"user_id": f"u{n}", "age": 40, "split": "test"} for n in range(2)]
    data = labelled_set(tmp_path / "set", users, num_clicks=1)
    model = Oracle(data.income_groups)
    got = evaluate_data(model, data, "test")
    assert write_card(tmp_path, got, model.manifest).exists()


def test_small_groups_have_no_figures(tmp_path: Path) -> None:
    ages = [30] * 6 + [70] * 4
    users = [{"user_id": f"u{n}", "age": age, "split": "test"} for n, age in enumerate(ages)]
    data = labelled_set(tmp_path / "set", users)
    groups = evaluate_data(Oracle(data.income_groups), data, "test")["groups"]["age"]
    assert groups["25-34"]["readers"] == 6
    assert groups["25-34"]["model"]["age"]["mae"]["value"] == 7.0
    assert groups["65-"]["readers"] == 4
    assert groups["65-"]["model"]["age"]["mae"] == NOTHING
