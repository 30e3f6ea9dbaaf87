"""The networks and their losses: padding, holes in labels, no clicks, shapes."""

import math

import pytest
import torch
from torch import Tensor, nn

from export.encoders import ENCODERS, build_encoder
from export.heads import (
    HEADS,
    HeadOutputs,
    Labels,
    LossWeights,
    masked_losses,
    parse_loss_weights,
    weighted_loss,
)
from export.prior import Prior
from export.reference import READER_TOKENS, SHORTEST_READER_TOKENS, ReferenceModel
from export.two_stage import ArticleEncoder, ProfileHead, interest
from schemas.errors import TrainingError

PRIOR = Prior(age_mean=40.0, age_sd=12.0, income=[0.2, 0.3, 0.5], female=0.4)
NAN = float("nan")


def outputs(size: int, **more: Tensor) -> HeadOutputs:
    zeros = torch.zeros(size)
    base = HeadOutputs(age=zeros, age_log_sd=zeros, income=torch.zeros(size, 3), gender=zeros)
    return base._replace(**more)


@pytest.fixture(params=sorted(ENCODERS))
def encoder(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return build_encoder(request.param, 50, 32).eval()


def test_an_encoder_gives_one_vector_per_text(encoder: nn.Module) -> None:
    vectors = encoder(torch.randint(0, 50, (5, 21)))
    assert vectors.shape == (5, 32)
    assert vectors.dtype == torch.float32


def test_padding_does_not_matter_to_an_encoder(encoder: nn.Module) -> None:
    tokens = torch.randint(1, 50, (4, 13))
    padded = torch.cat([tokens, torch.zeros(4, 19, dtype=torch.int64)], 1)
    torch.testing.assert_close(encoder(tokens), encoder(padded), atol=1e-6, rtol=0.0)


def test_an_encoder_survives_a_text_without_tokens(encoder: nn.Module) -> None:
    encoder.train()
    encoder(torch.zeros(2, 9, dtype=torch.int64)).sum().backward()
    assert all(
        bool(weight.grad.isfinite().all())
        for weight in encoder.parameters()
        if weight.grad is not None
    )


def test_an_unknown_encoder_is_named() -> None:
    with pytest.raises(TrainingError, match="no encoder 'lstm'; there are: conv1d"):
        build_encoder("lstm", 10, 8)


def profile_head() -> ProfileHead:
    torch.manual_seed(0)
    return ProfileHead(16, PRIOR).eval()


def test_without_clicks_a_new_head_says_the_prior() -> None:
    out = profile_head()(torch.zeros(2, 4, 16), torch.zeros(2, 4), torch.zeros(2, 4))
    torch.testing.assert_close(out.gender.sigmoid(), torch.full((2,), 0.4), atol=0.02, rtol=0.0)
    torch.testing.assert_close(
        out.income.softmax(1), torch.tensor([PRIOR.income] * 2), atol=0.02, rtol=0.0
    )
    assert out.age.abs().max() < 0.05


def test_masked_clicks_do_not_matter_to_the_head() -> None:
    head, vectors, ages = profile_head(), torch.randn(3, 5, 16), torch.rand(3, 5) * 100
    mask = torch.ones(3, 5)
    more = [torch.cat([part, torch.zeros_like(part[:, :2])], 1) for part in (vectors, ages, mask)]
    for one, other in zip(head(vectors, ages, mask), head(*more), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0.0)


def test_a_click_s_age_matters_to_the_head() -> None:
    head, vectors, mask = profile_head(), torch.randn(1, 5, 16), torch.ones(1, 5)
    old = torch.tensor([[0.0, 0.0, 0.0, 900.0, 900.0]])
    assert not torch.equal(
        head(vectors, old, mask).gender, head(vectors, torch.zeros(1, 5), mask).gender
    )


def test_interest_has_length_one_and_prefers_the_newest() -> None:
    vectors = torch.eye(2).unsqueeze(0)
    got = interest(vectors, torch.tensor([[0.0, 168.0]]), torch.ones(1, 2))
    torch.testing.assert_close(got, torch.tensor([[2.0, 1.0]]) / math.sqrt(5.0))


def test_interest_of_no_clicks_is_zero() -> None:
    got = interest(torch.ones(1, 2, 3), torch.zeros(1, 2), torch.zeros(1, 2))
    assert got.tolist() == [[0.0, 0.0, 0.0]]


def test_centred_vectors_do_not_depend_on_the_batch() -> None:
    encoder = ArticleEncoder(build_encoder("conv1d", 50, 32), 32).eval()
    tokens = torch.randint(0, 50, (6, 12))
    torch.testing.assert_close(encoder(tokens)[2:3], encoder(tokens[2:3]), atol=1e-6, rtol=0.0)


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


def test_a_missing_label_adds_no_loss_and_no_gradient() -> None:
    gender = torch.tensor([0.5, 99.0], requires_grad=True)
    age = torch.tensor([1.0, 99.0], requires_grad=True)
    labels = Labels(
        age=torch.tensor([0.0, NAN]), income=torch.tensor([2, -1]), gender=torch.tensor([1, -1])
    )
    losses = masked_losses(outputs(2, gender=gender, age=age), labels, "likelihood")
    assert {head: count for head, (_, count) in losses.items()} == dict.fromkeys(HEADS, 1)
    torch.stack([total for total, _ in losses.values()]).sum().backward()
    assert gender.grad is not None and age.grad is not None
    assert gender.grad[1] == 0.0 and age.grad[1] == 0.0
    assert gender.grad[0] != 0.0 and age.grad[0] != 0.0


def test_losses_without_any_label_are_zero() -> None:
    none = torch.tensor([-1, -1])
    losses = masked_losses(outputs(2), Labels(torch.tensor([NAN, NAN]), none, none), "likelihood")
    assert weighted_loss(losses, LossWeights(1.0, 1.0, 1.0)) == 0.0


def test_the_squared_loss_is_in_years() -> None:
    labels = Labels(torch.tensor([30.0]), torch.tensor([-1]), torch.tensor([-1]))
    losses = masked_losses(outputs(1, age=torch.tensor([27.0])), labels, "squared")
    assert losses["age"][0] == 9.0


def test_weights_multiply_the_mean_losses() -> None:
    losses = {
        "age": (torch.tensor(8.0), 2),
        "income": (torch.tensor(3.0), 1),
        "gender": (torch.tensor(5.0), 5),
    }
    assert weighted_loss(losses, LossWeights(age=0.25, income=1.0, gender=10.0)) == 14.0


@pytest.mark.parametrize("text", ["weight=1", "age", "age=-1", "gender=nan", "income=x"])
def test_a_bad_loss_weight_is_refused(text: str) -> None:
    with pytest.raises(TrainingError, match="loss weight"):
        parse_loss_weights(text, LossWeights(1.0, 1.0, 1.0))
