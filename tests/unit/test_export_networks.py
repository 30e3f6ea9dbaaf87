"""The networks: padding, no clicks, what a click's age does, shapes, centring."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from export.calibration import Calibration, Trust
from export.encoders import build_encoder
from export.onnx_export import ServedHead
from export.prior import Prior
from export.reference import READER_TOKENS, SHORTEST_READER_TOKENS, ReferenceModel
from export.standardise import Standardise
from export.two_stage import CentredEncoder, ProfileHead, interest
from schemas.errors import TrainingError
from tests.small_networks import PRIOR

NUM_SCORES, WIDTH = 4, 16
ROW = NUM_SCORES + WIDTH


@pytest.fixture
def head() -> ProfileHead:
    """A head whose every weight says something, as after training."""
    torch.manual_seed(0)
    head = ProfileHead(NUM_SCORES, WIDTH, PRIOR).eval()
    for weight in head.parameters():
        nn.init.normal_(weight, std=0.3)
    return head


def some_clicks(readers: int = 3, clicks: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    vectors = torch.randn(readers, clicks, ROW)
    return vectors, torch.rand(readers, clicks) * 100, torch.ones(readers, clicks)


def test_without_clicks_a_head_says_exactly_the_prior(head: ProfileHead) -> None:
    """Whatever its weights, and whatever stands where nothing was clicked."""
    vectors, ages, mask = some_clicks()
    out = head(vectors, ages, torch.zeros_like(mask))
    torch.testing.assert_close(out.gender.sigmoid(), torch.full((3,), PRIOR.female))
    torch.testing.assert_close(out.income.softmax(1), torch.tensor([PRIOR.income] * 3))
    torch.testing.assert_close(out.age.softmax(1), torch.tensor([PRIOR.ages.shares] * 3))


def test_a_click_moves_every_head_from_the_prior(head: ProfileHead) -> None:
    evidence = head.evidence(*some_clicks(clicks=1))
    assert all(bool((part != 0.0).all()) for part in evidence)


def test_trust_scales_what_the_clicks_add(head: ProfileHead) -> None:
    evidence = head.evidence(*some_clicks())
    none, half, whole = (
        head.with_prior(evidence, (torch.full((3,), part),) * 3) for part in (0.0, 0.5, 1.0)
    )
    for middle, one, other in zip(half, none, whole, strict=True):
        torch.testing.assert_close(middle, (one + other) / 2.0)


def test_masked_clicks_do_not_matter_to_the_head(head: ProfileHead) -> None:
    clicks = some_clicks()
    more = [torch.cat([part, torch.zeros_like(part[:, :2])], 1) for part in clicks]
    for one, other in zip(head(*clicks), head(*more), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0.0)


def test_a_click_s_age_matters_to_the_head(head: ProfileHead) -> None:
    vectors, _, mask = some_clicks(1)
    old = torch.tensor([[0.0, 0.0, 0.0, 900.0, 900.0]])
    assert not torch.equal(
        head(vectors, old, mask).gender, head(vectors, torch.zeros(1, 5), mask).gender
    )


def test_a_new_head_follows_the_gender_score() -> None:
    """Before training the linear path already speaks, with little gain."""
    torch.manual_seed(0)
    head = ProfileHead(NUM_SCORES, WIDTH, PRIOR).eval()
    vectors = torch.zeros(2, 5, ROW)
    vectors[0, :, 0], vectors[1, :, 0] = 1.0, -1.0
    women, men = head(vectors, torch.zeros(2, 5), torch.ones(2, 5)).gender
    assert women > head.gender_prior > men


def test_interest_has_length_one_and_prefers_the_newest() -> None:
    vectors = torch.eye(2).unsqueeze(0)
    got = interest(vectors, torch.tensor([[0.0, 168.0]]), torch.ones(1, 2))
    torch.testing.assert_close(got, torch.tensor([[2.0, 1.0]]) / math.sqrt(5.0))


def test_interest_of_no_clicks_is_zero() -> None:
    got = interest(torch.ones(1, 2, 3), torch.zeros(1, 2), torch.zeros(1, 2))
    assert got.tolist() == [[0.0, 0.0, 0.0]]


def test_a_served_head_says_the_prior_s_median_without_clicks(head: ProfileHead) -> None:
    calibration = Calibration(Trust(0.7), Trust(1.3), Trust(0.2, 4.0), age_sd=2.0, age_sd_few=0.5)
    vectors, ages, mask = some_clicks()
    years, sd, income, female, _ = ServedHead(head, PRIOR, calibration)(vectors, ages, 0.0 * mask)
    # Half of the readers that the bands were made of are 40 or younger, half 44 or older.
    assert ((years > 38.0) & (years < 46.0)).all()
    assert ((sd > 0.9 * PRIOR.age_sd) & (sd < 1.5 * PRIOR.age_sd)).all()
    torch.testing.assert_close(income, torch.tensor([PRIOR.income] * 3))
    torch.testing.assert_close(female, torch.full((3,), PRIOR.female))


def test_centred_vectors_do_not_depend_on_the_batch() -> None:
    encoder = CentredEncoder(build_encoder("conv1d", 50, 32), 32).eval()
    tokens = torch.randint(0, 50, (6, 12))
    torch.testing.assert_close(encoder(tokens)[2:3], encoder(tokens[2:3]), atol=1e-6, rtol=0.0)


def test_standardising_is_weighted_by_clicks() -> None:
    rng = np.random.default_rng(0)
    values, clicks = rng.normal(3.0, 2.0, (40, 3)), rng.integers(0, 4, 40)
    repeated = np.repeat(values, clicks, axis=0)
    layer = Standardise(3)
    got = layer(torch.tensor(values), torch.tensor(clicks)).numpy()
    wanted = (values - repeated.mean(0)) / np.sqrt(repeated.var(0) + 1e-5)
    np.testing.assert_allclose(got, wanted, atol=1e-5)
    np.testing.assert_allclose(layer.running_mean, 0.1 * repeated.mean(0), rtol=1e-5)
    np.testing.assert_allclose(layer.running_var, 0.9 + 0.1 * repeated.var(0), rtol=1e-5)


def test_standardising_in_evaluation_uses_what_was_measured() -> None:
    layer = Standardise(2)
    layer.running_mean.copy_(torch.tensor([1.0, -2.0]))
    layer.running_var.copy_(torch.tensor([4.0, 9.0]))
    values = torch.tensor([[3.0, 1.0], [1.0, -2.0]])
    got = layer.eval()(values, torch.tensor([5.0, 0.0]))
    torch.testing.assert_close(got, torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
    assert layer.running_mean.tolist() == [1.0, -2.0]


def test_standardising_without_a_momentum_averages_the_batches() -> None:
    layer = Standardise(1)
    layer.momentum = None
    layer(torch.tensor([[5.0], [7.0]]))
    layer.reset_running_stats()
    for mean in (2.0, 4.0, 9.0):
        layer(torch.tensor([[mean - 1.0], [mean + 1.0]]))
    torch.testing.assert_close(layer.running_mean, torch.tensor([5.0]))
    torch.testing.assert_close(layer.running_var, torch.tensor([1.0]))


def test_standardising_a_share_without_clicks_is_finite() -> None:
    layer = Standardise(2)
    assert layer(torch.randn(3, 2), torch.zeros(3)).isfinite().all()


def test_the_reference_network_is_the_article_s() -> None:
    model = ReferenceModel(50_000, Prior(40.0, 12.0, [0.1] * 10, 0.5))
    shapes = [tuple(layer.weight.shape) for layer in model.convolutions if hasattr(layer, "weight")]
    assert tuple(model.embedding.weight.shape) == (50_000, 256)
    assert shapes == [(128, 256, 5), (256, 128, 5), (256, 256, 5), (256, 256, 5), (256, 256, 5)]
    assert model.dense.out_features == 128
    out = model(torch.randint(0, 50_000, (2, READER_TOKENS)))
    assert (out.age.shape, out.income.shape, out.gender.shape) == ((2,), (2, 10), (2,))


def test_the_reference_network_names_its_shortest_input() -> None:
    ReferenceModel(20, PRIOR, SHORTEST_READER_TOKENS)(torch.ones(1, SHORTEST_READER_TOKENS).long())
    with pytest.raises(TrainingError, match=str(SHORTEST_READER_TOKENS)):
        ReferenceModel(20, PRIOR, SHORTEST_READER_TOKENS - 1)
