"""The heads' losses: holes in labels, the loss of a distribution, weights."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from export.heads import (
    HEADS,
    HeadOutputs,
    Labels,
    LossWeights,
    distribution_loss,
    masked_losses,
    parse_loss_weights,
    weighted_loss,
)
from schemas.errors import TrainingError

NAN = float("nan")
STEPS = torch.tensor([0.5, 1.0, 0.25])  # between the middles of four bands
NOBODY = torch.tensor([-1, -1])


def outputs(size: int, **more: Tensor) -> HeadOutputs:
    base = HeadOutputs(
        age=torch.zeros(size, 4), income=torch.zeros(size, 3), gender=torch.zeros(size)
    )
    return base._replace(**more)


def test_a_missing_label_adds_no_loss_and_no_gradient() -> None:
    gender = torch.tensor([0.5, 99.0], requires_grad=True)
    age = torch.tensor([[1.0, 0.0, 0.0, 0.0], [99.0, 0.0, 0.0, 0.0]], requires_grad=True)
    labels = Labels(
        age=torch.tensor([0.0, NAN]), income=torch.tensor([2, -1]), gender=torch.tensor([1, -1])
    )
    losses = masked_losses(outputs(2, gender=gender, age=age), labels, STEPS)
    assert {head: count for head, (_, count) in losses.items()} == dict.fromkeys(HEADS, 1)
    torch.stack([total for total, _ in losses.values()]).sum().backward()
    assert gender.grad is not None and age.grad is not None
    assert gender.grad[1] == 0.0 and not age.grad[1].any()
    assert gender.grad[0] != 0.0 and age.grad[0].all()


@pytest.mark.parametrize("steps", [STEPS, None])
def test_losses_without_any_label_are_zero(steps: Tensor | None) -> None:
    out = outputs(2) if steps is not None else outputs(2, age=torch.zeros(2))
    losses = masked_losses(out, Labels(torch.tensor([NAN, NAN]), NOBODY, NOBODY), steps)
    assert weighted_loss(losses, LossWeights(1.0, 1.0, 1.0)) == 0.0


def test_a_head_without_labels_leaves_the_others_theirs() -> None:
    gender = torch.zeros(2, requires_grad=True)
    labels = Labels(torch.tensor([NAN, NAN]), NOBODY, torch.tensor([1, 0]))
    losses = masked_losses(outputs(2, gender=gender), labels, STEPS)
    total = weighted_loss(losses, LossWeights(1.0, 1.0, 1.0))
    assert float(total.detach()) == pytest.approx(math.log(2.0))
    total.backward()
    assert gender.grad is not None and gender.grad.isfinite().all()


def test_the_squared_loss_is_in_years() -> None:
    labels = Labels(torch.tensor([30.0]), torch.tensor([-1]), torch.tensor([-1]))
    losses = masked_losses(outputs(1, age=torch.tensor([27.0])), labels, None)
    assert losses["age"][0] == 9.0


def test_a_sure_guess_costs_its_distance() -> None:
    """Of the ranked part; the cross-entropy is that of the logits."""
    logits = torch.full((4, 4), -30.0)
    logits.fill_diagonal_(0.0)
    cross_entropy = torch.tensor([30.0, 30.0, 0.0, 30.0])
    ranked = (distribution_loss(logits, torch.full((4,), 2), STEPS) - 0.5 * cross_entropy) / 2.0
    torch.testing.assert_close(ranked, torch.tensor([1.5, 1.0, 0.0, 0.25]), atol=1e-5, rtol=0.0)


def test_the_true_distribution_has_the_least_expected_loss() -> None:
    truth = torch.tensor([0.1, 0.4, 0.3, 0.2])

    def expected(shares: Tensor) -> float:
        losses = distribution_loss(shares.log().expand(4, 4), torch.arange(4), STEPS)
        return float((truth * losses).sum())

    rng = np.random.default_rng(0)
    best = expected(truth)
    for other in rng.dirichlet(np.ones(4), 50):
        assert expected(torch.tensor(other, dtype=torch.float32)) > best


def test_one_band_has_nothing_to_learn() -> None:
    loss = distribution_loss(torch.tensor([[3.0]]), torch.tensor([0]), torch.zeros(0))
    assert loss.tolist() == [0.0]


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
