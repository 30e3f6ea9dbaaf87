"""`frontpage evaluate` on a real bundle, and bundles that hold a card."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from export.bundle_model import BundleModel
from export.card import write_card
from export.commands import evaluate
from export.data import load_reader_data
from schemas.bundle import (
    CARD_DIRECTORY,
    MANIFEST_FILE,
    Manifest,
    describe_files,
    load_manifest,
    write_bundle,
)
from schemas.errors import BundleError
from schemas.reading_set import ReadingSet


def run(*arguments: str | Path) -> Any:
    result = CliRunner().invoke(evaluate, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def document(bundle: Path, newsroom: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = msgspec.json.decode(run(bundle, newsroom, "--json"))
    return loaded


@pytest.fixture(scope="module")
def carded(
    bundle: Path, document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The bundle again, with a card."""
    path = tmp_path_factory.mktemp("carded") / "bundle"
    manifest = load_manifest(bundle)

    def fill(directory: Path) -> None:
        for name in manifest.files:
            if not name.startswith(CARD_DIRECTORY):
                shutil.copy(bundle / name, directory / name)
        write_card(directory, document, manifest)
        with_card = msgspec.structs.replace(manifest, files=describe_files(directory))
        (directory / MANIFEST_FILE).write_bytes(msgspec.json.encode(with_card))

    write_bundle(path, fill)
    return path


def test_the_document_measures_the_model_beside_the_others(document: dict[str, Any]) -> None:
    assert set(document) >= {"dataset", "split", "readers", "model_version", "by_num_clicks"}
    assert document["baseline"]["gender"]["auc"]["value"] > 0.6
    assert document["constant"]["gender"]["auc"]["value"] == 0.5
    assert set(document["optimum"]) == {"1", "5", "20"}
    assert document["optimum"]["20"]["ratio"]["age"]["mae"]["value"] > 1.0


def test_all_clicks_of_all_readers_count_once(document: dict[str, Any]) -> None:
    assert document["by_num_clicks"]["1"]["readers"] == document["readers"]


def test_the_table_and_the_card_are_written(bundle: Path, newsroom: Path, tmp_path: Path) -> None:
    text = run(bundle, newsroom, "--split", "valid", "--no-baseline", "--card", tmp_path / "new")
    assert "valid split" in text and "optimum" in text
    assert (tmp_path / "new" / "card" / "model_card.md").exists()


def test_a_card_is_not_written_over_a_bundle_s_own(bundle: Path, newsroom: Path) -> None:
    result = CliRunner().invoke(evaluate, [str(bundle), str(newsroom), "--card", str(bundle)])
    assert result.exit_code == 2 and "is a bundle" in result.output
    load_manifest(bundle)


def test_the_first_clicks_are_all_the_model_sees(bundle: Path, newsroom: Path) -> None:
    """What came later cannot matter: the same set without it gives the same estimates."""
    data, model = load_reader_data(ReadingSet(newsroom)), BundleModel(bundle)
    readers = data.readers_of("test")
    first = model.estimate(data, readers, 2)
    clicks, hours = data.clicks.copy(), data.hours.copy()
    for row, reader in enumerate(readers):
        later = slice(int(data.offsets[reader]) + 2, int(data.offsets[reader + 1]))
        clicks[later] = clicks[later][::-1]
        hours[later] += 100.0 + row
    again = model.estimate(replace(data, clicks=clicks, hours=hours), readers, 2)
    np.testing.assert_array_equal(first.female, again.female)
    assert not np.allclose(first.female, model.estimate(data, readers).female)


def test_estimates_keep_the_order_of_the_readers(bundle: Path, newsroom: Path) -> None:
    data, model = load_reader_data(ReadingSet(newsroom)), BundleModel(bundle)
    readers = data.readers_of("test")
    forwards, backwards = model.estimate(data, readers), model.estimate(data, readers[::-1])
    np.testing.assert_allclose(forwards.income, backwards.income[::-1], atol=1e-5)
    alone = model.estimate(data, readers[:1])
    np.testing.assert_allclose(forwards.age_years[:1], alone.age_years, rtol=1e-5)


def test_nobody_has_no_estimates(bundle: Path, newsroom: Path) -> None:
    data = load_reader_data(ReadingSet(newsroom))
    nobody = BundleModel(bundle).estimate(data, np.empty(0, dtype=np.int64))
    assert nobody.income.shape == (0, len(data.income_groups))


def test_a_card_is_part_of_the_bundle_but_not_of_its_version(bundle: Path, carded: Path) -> None:
    with_card = load_manifest(carded)
    assert f"{CARD_DIRECTORY}/model_card.md" in with_card.files
    assert with_card.model_version == load_manifest(bundle).model_version


def test_a_changed_card_is_noticed(carded: Path, tmp_path: Path) -> None:
    broken = tmp_path / "bundle"
    shutil.copytree(carded, broken)
    (broken / CARD_DIRECTORY / "model_card.md").write_text("much better")
    with pytest.raises(BundleError, match="checksum"):
        load_manifest(broken)


def test_no_graph_hides_where_the_version_does_not_look(carded: Path, tmp_path: Path) -> None:
    broken = tmp_path / "bundle"
    shutil.copytree(carded, broken)
    manifest: Manifest = load_manifest(broken)
    graph = manifest.graphs["profile_head"]
    shutil.copy(broken / graph.file, broken / CARD_DIRECTORY / graph.file)
    moved = msgspec.structs.replace(graph, file=f"{CARD_DIRECTORY}/{graph.file}")
    (broken / MANIFEST_FILE).write_bytes(
        msgspec.json.encode(
            msgspec.structs.replace(
                manifest,
                files=describe_files(broken),
                graphs={**manifest.graphs, "profile_head": moved},
            )
        )
    )
    with pytest.raises(BundleError, match="graphs do not fit"):
        load_manifest(broken)
