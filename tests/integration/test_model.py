"""Bundles as the worker serves them: whole or refused, and the same for a reader in any batch."""

import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest

from schemas.bundle import MANIFEST_FILE, load_manifest
from schemas.encoded import EncodedArticle
from schemas.errors import BundleError
from schemas.history import article_ref, merge, pack_entry
from schemas.reading_set import ReadingSet
from schemas.records import Profile, Recommendation
from schemas.tokenizer import article_text
from worker.catalogue import Catalogue
from worker.eye import Eye
from worker.front_pages import FrontPages
from worker.model import Model, load_model
from worker.recommend.options import Options
from worker.recommend.recommender import Recommender
from worker.recommend.statistics import Statistics

NOW = datetime(2026, 3, 1, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)


@pytest.fixture(scope="module")
def reference_bundle(newsroom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "reference"
    command = ["train", str(newsroom), "--out", str(path), "--epochs", "1"]
    command += ["--architecture", "reference"]
    subprocess.run([sys.executable, "-m", "worker.cli", *command], check=True)
    return path


@pytest.fixture(scope="module", params=["two-stage", "reference"])
def model(request: pytest.FixtureRequest, bundle: Path) -> Model:
    if request.param == "reference":
        bundle = request.getfixturevalue("reference_bundle")
    found = load_model(bundle)
    assert found.manifest.architecture == request.param
    return found


@pytest.fixture(scope="module")
def texts(newsroom: Path) -> list[str]:
    return [article_text(each.title, each.body) for each in ReadingSet(newsroom).articles()][:70]


def test_an_article_has_one_vector_in_any_batch(model: Model, texts: list[str]) -> None:
    together = model.encode(texts)
    assert together.dtype == model.row_dtype
    assert together.shape == (len(texts), model.manifest.row_width)
    for size in (1, 2, 7, 33):
        for start in (0, 11, 37):
            part = slice(start, min(start + size, len(texts)))
            assert model.encode(texts[part]).tobytes() == together[part].tobytes()


def test_a_reader_has_one_estimate_in_any_batch(model: Model, texts: list[str]) -> None:
    rng = np.random.default_rng(3)
    rows = model.encode(texts)
    readers, window = 70, model.manifest.max_clicks
    clicked = rows[rng.integers(0, len(rows), (readers, window))]
    mask = (np.arange(window) < rng.integers(1, window + 1, readers)[:, None]).astype(np.float32)
    ages = (np.sort(rng.exponential(50, (readers, window)), axis=1) * mask).astype(np.float32)
    clicked[mask == 0] = 0
    together = model.estimate(clicked, ages, mask)
    for part in (slice(0, 1), slice(5, 7), slice(30, 63), slice(69, 70)):
        alone = model.estimate(clicked[part], ages[part], mask[part])
        for one, all_of in zip(alone, together, strict=True):
            assert one.tobytes() == all_of[part].tobytes()


def test_a_reader_is_seen_the_same_in_any_batch(model: Model, texts: list[str]) -> None:
    catalogue = Catalogue(model.manifest.row_width, model.row_dtype)
    for number, row in enumerate(model.encode(texts)):
        catalogue.put(EncodedArticle(f"a{number}", "v", row.tobytes(), [], None, None))
    rng = np.random.default_rng(4)
    # Some fill each of the windows, and one in eight articles is not known.
    clicked = [rng.integers(0, 80, size) for size in rng.integers(0, 2 * max(model.windows), 70)]
    histories = [
        merge(
            None,
            [
                pack_entry(NOW_MS - 10**7 * at, None, article_ref(f"a{n}"))
                for at, n in enumerate(own)
            ],
            1024,
        )
        for own in (*clicked, *(own[:3] for own in clicked))
    ]
    eye = Eye(catalogue, model, 14.0)
    seen = eye.see(histories)
    together = seen.estimates
    assert together is not None
    for part in (slice(0, 1), slice(5, 7), slice(30, 140), slice(139, 140), slice(2, 140, 9)):
        alone = eye.see(histories[part]).estimates
        assert alone is not None
        for one, all_of in zip(alone, together, strict=True):
            assert one.tobytes() == all_of[part].tobytes()
    rows = seen.reading.window_rows()
    vectors = catalogue.rows[rows]
    vectors[rows < 0] = 0
    mask = seen.reading.known.astype(np.float32)
    padded = model.estimate(vectors, seen.reading.window_ages_hours(), mask)
    for one, all_of in zip(padded, together, strict=True):
        assert all_of == pytest.approx(one, rel=1e-4, abs=1e-4)


def test_nothing_is_inferred_of_a_reader_who_objects(model: Model, texts: list[str]) -> None:
    catalogue = Catalogue(model.manifest.row_width, model.row_dtype)
    for number, row in enumerate(model.encode(texts)):
        catalogue.put(EncodedArticle(f"a{number}", "v", row.tobytes(), [f"t{number % 5}"], None))
    histories = [
        merge(None, [pack_entry(NOW_MS - at, None, article_ref(f"a{at}")) for at in own], 64)
        for own in (range(3), range(3, 9), range(0, 30, 3))
    ]
    eye = Eye(catalogue, model, 14.0)
    eye.see(histories)  # the first look tells the catalogue the tags that the bundle knows
    everybody = eye.see(histories)
    found = eye.see(histories, objecting=np.array([False, True, False]))
    nobody = eye.see([b""])
    assert found.estimates and everybody.estimates and nobody.estimates
    assert found.tastes.membership is not None and everybody.tastes.membership is not None
    for one, prior, others in zip(
        found.estimates, nobody.estimates, everybody.estimates, strict=True
    ):
        assert one[1] == pytest.approx(prior[0], rel=1e-4, abs=1e-4)  # as of who never clicked
        assert one[[0, 2]].tobytes() == others[[0, 2]].tobytes()
    assert not found.tastes.membership[1].any() and not found.tastes.affinity[1].any()
    assert found.tastes.membership[[0, 2]].any(axis=1).all()
    assert found.tastes.interests.tobytes() == everybody.tastes.interests.tobytes()


def test_estimates_are_probabilities_and_years(model: Model, texts: list[str]) -> None:
    window = model.manifest.max_clicks
    rows = np.zeros((2, window, model.manifest.row_width), dtype=model.row_dtype)
    rows[0, :3] = model.encode(texts[:3])
    mask = np.zeros((2, window), dtype=np.float32)
    mask[0, :3] = 1  # the second reader has clicked nothing that is known
    found = model.estimate(rows, np.zeros_like(mask), mask)
    assert np.isfinite(found.age_years).all() and (found.age_sd > 0).all()
    assert found.income.sum(axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert ((found.female > 0) & (found.female < 1)).all()


def test_front_pages_follow_from_any_bundle(model: Model, newsroom: Path) -> None:
    reading_set = ReadingSet(newsroom)
    articles = list(reading_set.articles())[:60]
    rows = model.encode([article_text(each.title, each.body) for each in articles])
    catalogue = Catalogue(model.manifest.row_width, model.row_dtype)
    version = model.manifest.model_version
    for each, row in zip(articles, rows, strict=True):
        tags = each.tags or []
        catalogue.put(
            EncodedArticle(each.article_id, version, row.tobytes(), tags, None, each.language)
        )
    entries = [pack_entry(i, f"e{i}", article_ref(articles[i].article_id)) for i in range(5)]
    front_pages = FrontPages(
        model, Recommender(catalogue, Statistics(64), Options()), Eye(catalogue, model, 14.0), 10
    )
    (page,) = front_pages.make(["u"], [merge(None, entries, 64)], NOW_MS, NOW)
    profile = msgspec.json.decode(page.profile, type=Profile)
    assert profile.model_version == version
    assert len(profile.income.probabilities) == len(model.manifest.income_groups)
    recommended = msgspec.json.decode(page.recommendation, type=Recommendation)
    assert {item.article_id for item in recommended.items}.isdisjoint(
        each.article_id for each in articles[:5]
    )


@pytest.mark.parametrize("damage", ["flip", "missing", "version", "format", "escape"])
def test_a_damaged_bundle_is_refused(bundle: Path, tmp_path: Path, damage: str) -> None:
    broken = tmp_path / "bundle"
    shutil.copytree(bundle, broken)
    manifest = load_manifest(broken)
    graph = broken / "profile_head.onnx"
    match damage:
        case "flip":
            raw = bytearray(graph.read_bytes())
            raw[len(raw) // 2] ^= 1
            graph.write_bytes(raw)
        case "missing":
            graph.unlink()
        case "version":
            manifest = msgspec.structs.replace(manifest, model_version="0" * 12)
        case "format":
            manifest = msgspec.structs.replace(manifest, format_version=99)
        case "escape":
            files = {**manifest.files, "../outside": manifest.files["tokenizer.model"]}
            manifest = msgspec.structs.replace(manifest, files=files)
    (broken / MANIFEST_FILE).write_bytes(msgspec.json.encode(manifest))
    with pytest.raises(BundleError):
        load_model(broken)


def test_a_graph_that_is_not_what_the_manifest_says_is_refused(
    bundle: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "bundle"
    shutil.copytree(bundle, broken)
    manifest = load_manifest(broken)
    head = manifest.graphs["profile_head"]
    swapped = {**manifest.graphs, "article_encoder": head}
    (broken / MANIFEST_FILE).write_bytes(
        msgspec.json.encode(msgspec.structs.replace(manifest, graphs=swapped))
    )
    # The encoder's call would fail at the first article otherwise, in the middle of a stream.
    with pytest.raises(BundleError, match="tokens"):
        load_model(broken)
