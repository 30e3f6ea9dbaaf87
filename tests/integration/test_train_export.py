"""Training to a bundle and back through onnxruntime: it learns, it is the network, it is whole."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from export.architectures import LEARNED_WIDTH
from export.averaging import to_tensors
from export.bundle_model import BundleModel
from export.bundle_writer import train_bundle
from export.calibration import Calibration, Trust
from export.data import load_reader_data
from export.evaluation import as_table, evaluate
from export.heads import HeadOutputs
from export.onnx_export import (
    TOLERANCE,
    ServedHead,
    check_graph,
    click_cases,
    export_article_encoder,
    export_profile_head,
)
from export.options import TrainingOptions
from export.two_stage import TwoStageModel
from schemas.bundle import ESTIMATE_OUTPUTS, Manifest, load_manifest
from schemas.errors import BundleError, TrainingError
from schemas.reading_set import ReadingSet
from tests.expected import median_and_sd
from tests.small_networks import (
    PRIOR,
    SCORES,
    TOKENS,
    VOCABULARY,
    WIDTH,
    made_up_fit,
    small_model,
)
from tests.tiny_sets import write_easy_set

HEAD_WIDTH = len(SCORES) + WIDTH


QUICK = TrainingOptions(encoder="bag", epochs=1, article_tokens=16, max_clicks=8)


CALIBRATION = Calibration(Trust(0.8, 2.0), Trust(1.2), Trust(0.6, 0.5), age_sd=1.1, age_sd_few=0.5)


@pytest.fixture(scope="module")
def easy_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_easy_set(tmp_path_factory.mktemp("data") / "easy", num_readers=240)


@pytest.fixture(scope="module")
def trained(easy_set: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    path = tmp_path_factory.mktemp("bundles") / "two-stage"
    return path, train_bundle(easy_set, path, TrainingOptions(article_tokens=32, max_clicks=8))


@pytest.fixture(scope="module")
def reference(easy_set: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    path = tmp_path_factory.mktemp("bundles") / "reference"
    options = TrainingOptions(architecture="reference", epochs=1, article_tokens=32)
    return path, train_bundle(easy_set, path, options)


@pytest.fixture(scope="module")
def network() -> tuple[TwoStageModel, ServedHead]:
    torch.manual_seed(0)
    model = small_model(made_up_fit()).eval()
    for weight in model.head.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    return model, ServedHead(model.head, PRIOR, CALIBRATION).eval()


def test_it_learns_what_is_plain_to_see(trained: tuple[Path, Manifest]) -> None:
    model, constant = trained[1].metrics["model"], trained[1].metrics["constant"]
    assert model["gender"]["auc"]["value"] > 0.95
    assert model["age"]["mae"]["value"] < 0.5 * constant["age"]["mae"]["value"]
    assert model["income"]["log_loss"]["value"] < 0.5 * constant["income"]["log_loss"]["value"]


def test_the_bundle_says_how_it_came_about(trained: tuple[Path, Manifest]) -> None:
    path, manifest = trained
    assert load_manifest(path) == manifest
    facts = manifest.training
    assert facts["seed"] == 0 and facts["dataset"] == "tiny"
    assert set(facts["history"][0]["train"]) == set(facts["history"][0]["valid"])
    assert max(facts["onnx_differences"].values()) <= TOLERANCE


def test_graphs_have_the_contract_s_names_and_axes(trained: tuple[Path, Manifest]) -> None:
    graphs = trained[1].graphs
    encoder, head = graphs["article_encoder"], graphs["profile_head"]
    width = trained[1].row_width
    assert width > LEARNED_WIDTH
    assert [(t.name, t.shape, t.dtype) for t in encoder.inputs] == [
        ("tokens", ["batch", 32], "int32")
    ]
    assert [(t.name, t.shape, t.dtype) for t in encoder.outputs] == [
        ("vector", ["batch", width], "float32")
    ]
    assert [(t.name, t.shape) for t in head.inputs] == [
        ("vectors", ["batch", "clicks", width]),
        ("ages_hours", ["batch", "clicks"]),
        ("mask", ["batch", "clicks"]),
    ]
    assert [t.name for t in head.outputs] == [*ESTIMATE_OUTPUTS, "interest"]
    assert [t.shape for t in head.outputs] == [
        ["batch"],
        ["batch"],
        ["batch", 2],
        ["batch"],
        ["batch", width],
    ]


def test_without_clicks_the_estimate_is_the_prior(trained: tuple[Path, Manifest]) -> None:
    path, manifest = trained
    session = onnxruntime.InferenceSession(str(path / "profile_head.onnx"))
    zeros = np.zeros((1, 8), dtype=np.float32)
    inputs = {
        "vectors": np.zeros((1, 8, manifest.row_width), dtype=np.float32),
        "ages_hours": zeros,
        "mask": zeros,
    }
    age, sd, income, female = session.run(ESTIMATE_OUTPUTS, inputs)
    prior = manifest.training["prior"]
    middle = np.searchsorted(np.cumsum(prior["ages"]["shares"]), 0.5)
    lower, upper = prior["ages"]["bounds"][middle : middle + 2]
    assert lower - 1e-3 <= age[0] <= upper + 1e-3, "the median"
    assert sd[0] > 0.3 * manifest.age_sd_years
    assert income[0] == pytest.approx(prior["income"], abs=1e-5)
    assert female[0] == pytest.approx(prior["female"], abs=1e-5)


def test_the_reference_architecture_trains_and_serves(reference: tuple[Path, Manifest]) -> None:
    path, manifest = reference
    (graph,) = manifest.graphs.values()
    assert [t.name for t in graph.outputs] == list(ESTIMATE_OUTPUTS)
    assert (graph.inputs[0].shape, manifest.reader_tokens) == (["batch", 500], 500)
    assert manifest.row_width == manifest.article_tokens == 32
    assert manifest.training["loss_weights"] == {"age": 0.25, "income": 1.0, "gender": 10.0}
    assert load_manifest(path) == manifest


def test_both_graphs_together_are_the_trained_network(
    network: tuple[TwoStageModel, ServedHead], tmp_path: Path
) -> None:
    model, served = network
    encoder_path, head_path = tmp_path / "encoder.onnx", tmp_path / "head.onnx"
    export_article_encoder(model.articles, TOKENS, encoder_path)
    export_profile_head(served, HEAD_WIDTH, head_path)
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, VOCABULARY, (20, TOKENS), dtype=np.int32)
    rows = rng.integers(0, 20, (9, 7))
    mask = (np.arange(7) < rng.integers(0, 8, (9, 1))).astype(np.float32)
    ages = rng.exponential(100.0, (9, 7)).astype(np.float32) * mask
    with torch.inference_mode():
        scores = model.articles.scores(torch.from_numpy(tokens)).numpy()[rows] * mask[..., None]
        inputs = to_tensors((tokens, rows, ages, mask, scores), torch.device("cpu"))
        wanted = _calibrated(model(*inputs), mask.sum(1))
    shares = wanted.age.double().softmax(1).numpy()
    years, deviations = zip(*(median_and_sd(row, PRIOR.ages) for row in shares), strict=True)
    (vectors,) = onnxruntime.InferenceSession(str(encoder_path)).run(None, {"tokens": tokens})
    given = {"vectors": vectors[rows] * mask[..., None], "ages_hours": ages, "mask": mask}
    age, sd, income, female, _ = onnxruntime.InferenceSession(str(head_path)).run(None, given)
    np.testing.assert_allclose(age, years, atol=1e-3)  # a median magnifies what shares differ by
    clicks = mask.sum(1)
    width = np.where(clicks > 0, 1.1 * (1.0 + 0.5 / np.maximum(clicks, 1.0)), 1.0)
    np.testing.assert_allclose(sd, width * deviations, atol=1e-3)
    np.testing.assert_allclose(income, wanted.income.softmax(1).numpy(), atol=TOLERANCE)
    np.testing.assert_allclose(female, wanted.gender.sigmoid().numpy(), atol=TOLERANCE)


def _calibrated(outputs: HeadOutputs, clicks: NDArray[np.float32]) -> HeadOutputs:
    """Draw what the clicks added to the prior's logits together or apart, as served."""
    priors = (
        torch.tensor(PRIOR.ages.shares).log(),
        torch.tensor(PRIOR.income).log(),
        torch.tensor(PRIOR.female).logit(),
    )
    some = torch.from_numpy(np.maximum(clicks, 1.0))
    trust = (0.8 * some / (some + 2.0), torch.full_like(some, 1.2), 0.6 * some / (some + 0.5))
    parts = zip(outputs, priors, trust, strict=True)
    return HeadOutputs(
        *(
            prior + (logits - prior) * (part if logits.ndim == 1 else part[:, None])
            for logits, prior, part in parts
        )
    )


def test_without_clicks_the_graph_says_exactly_the_prior(
    network: tuple[TwoStageModel, ServedHead], tmp_path: Path
) -> None:
    path = tmp_path / "head.onnx"
    export_profile_head(network[1], HEAD_WIDTH, path)
    nothing = np.zeros((2, 3), dtype=np.float32)
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((2, 3, HEAD_WIDTH), dtype=np.float32)
    inputs = {"vectors": vectors, "ages_hours": nothing, "mask": nothing}
    age, sd, income, female, interest = onnxruntime.InferenceSession(str(path)).run(None, inputs)
    median, deviation = median_and_sd(np.array(PRIOR.ages.shares), PRIOR.ages)
    np.testing.assert_allclose(age, [median] * 2, rtol=1e-5)
    np.testing.assert_allclose(sd, [deviation] * 2, rtol=1e-4)
    np.testing.assert_allclose(income, [PRIOR.income] * 2, rtol=1e-5)
    np.testing.assert_allclose(female, [PRIOR.female] * 2, rtol=1e-5)
    assert not interest.any()


def test_a_graph_that_is_not_the_network_is_refused(
    network: tuple[TwoStageModel, ServedHead], tmp_path: Path
) -> None:
    _, served = network
    path = tmp_path / "head.onnx"
    export_profile_head(served, HEAD_WIDTH, path)
    vectors = np.random.default_rng(0).standard_normal((30, HEAD_WIDTH), dtype=np.float32)
    assert check_graph(path, served, click_cases(vectors, 8, seed=0)) <= TOLERANCE
    broken = onnx.load(path)
    for number, weights in enumerate(broken.graph.initializer):
        if weights.name.endswith("prior"):
            array = onnx.numpy_helper.to_array(weights) + np.float32(0.01)
            broken.graph.initializer[number].CopyFrom(
                onnx.numpy_helper.from_array(array, weights.name)
            )
    onnx.save(broken, path)
    with pytest.raises(BundleError, match="differs from the trained network"):
        check_graph(path, served, click_cases(vectors, 8, seed=0))


def test_a_refused_graph_leaves_no_bundle(
    easy_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.onnx_export.TOLERANCE", -1.0)
    with pytest.raises(BundleError, match="differs"):
        train_bundle(easy_set, tmp_path / "out", QUICK)
    assert list(tmp_path.iterdir()) == []


def test_evaluation_repeats_what_training_measured(
    trained: tuple[Path, Manifest], easy_set: Path
) -> None:
    path, manifest = trained
    result = evaluate(path, easy_set)
    assert result == manifest.metrics
    assert "gender" in as_table(result)


def test_evaluation_refuses_other_income_groups(
    trained: tuple[Path, Manifest], newsroom: Path
) -> None:
    with pytest.raises(TrainingError, match="income groups"):
        evaluate(trained[0], newsroom)


def test_estimates_do_not_depend_on_the_readers_beside(
    trained: tuple[Path, Manifest], easy_set: Path
) -> None:
    data = load_reader_data(ReadingSet(easy_set))
    model = BundleModel(trained[0])
    readers = data.readers_of("test")
    together = model.estimate(data, readers)
    alone = [float(model.estimate(data, readers[[n]]).female[0]) for n in range(4)]
    np.testing.assert_allclose(alone, together.female[:4], atol=1e-6)
