"""How the heads' losses become one: what each balance does with noise, conflict and holes."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from export.balance import (
    Balance,
    GradientBalance,
    Losses,
    UncertaintyBalance,
    build_balance,
)
from export.data import load_reader_data
from export.dual_cone import least_above
from export.heads import HEADS, Labels, LossWeights, masked_losses, weighted_loss
from export.prior import Prior
from export.reference import SHORTEST_READER_TOKENS, ReferenceModel
from export.training import Schedule, train
from schemas.reading_set import ReadingSet
from tests.small_networks import small_task
from tests.tiny_sets import write_easy_set

EQUAL = LossWeights(age=1.0, income=1.0, gender=1.0)
NAMES = ("fixed", "uncertainty", "gradient")


class Toy(nn.Module):
    """One shared point; each head's loss is its squared distance to a target, times a scale."""

    def __init__(self) -> None:
        super().__init__()
        self.point = nn.Parameter(torch.zeros(2))

    def forward(self, targets: Tensor, scales: Tensor) -> Losses:
        squares = scales * (self.point - targets).square().sum(1)  # (3,)
        return {head: (4.0 * squares[n], 4) for n, head in enumerate(HEADS)}


TARGETS = torch.tensor([[1.0, 0.1], [-1.0, 0.1], [0.2, 1.0]])
SCALES = torch.tensor([100.0, 1.0, 1.0])


def gradients_of(toy: Toy) -> Tensor:
    losses = toy(TARGETS, SCALES)
    means = [total / count for total, count in losses.values()]
    rows = [torch.autograd.grad(mean, toy.point, retain_graph=True)[0] for mean in means]
    return torch.stack(rows)  # (3, 2)


def step_of(balance: Balance, toy: Toy, losses: Losses) -> Tensor:
    toy.point.grad = None
    balance.combine(losses).backward()
    assert toy.point.grad is not None
    return toy.point.grad


def test_fixed_weights_are_the_weighted_loss() -> None:
    weights = LossWeights(age=0.25, income=1.0, gender=10.0)
    losses = {
        "age": (torch.tensor(90.0), 3),
        "income": (torch.tensor(0.0), 0),
        "gender": (torch.tensor(1.4), 2),
    }
    together = Balance(weights).combine(losses)
    assert together.item() == weighted_loss(losses, weights).item()
    assert together.item() == pytest.approx(0.25 * 30.0 + 10.0 * 0.7)


def learned(values: dict[str, float], weights: LossWeights, steps: int = 400) -> dict[str, float]:
    network = nn.Linear(1, 1)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-2, weight_decay=0.01)
    balance = UncertaintyBalance(weights)
    balance.join(optimizer)
    for _ in range(steps):
        optimizer.zero_grad()
        losses = {head: (torch.tensor(8.0 * value), 8) for head, value in values.items()}
        balance.combine(losses).backward()
        optimizer.step()
    return balance.weights()


def test_a_noisy_head_learns_a_small_weight() -> None:
    weights = learned({"age": 20.0, "income": 2.0, "gender": 0.5}, EQUAL)
    assert weights["age"] < weights["income"] < weights["gender"]
    # The best weight of a loss L is 1 / (2 L).
    assert weights["age"] == pytest.approx(1 / 40, rel=0.05)
    assert weights["gender"] == pytest.approx(1.0, rel=0.05)


def test_learned_weights_start_at_the_fixed_ones() -> None:
    start = UncertaintyBalance(LossWeights(age=0.25, income=1.0, gender=0.0)).weights()
    assert start == {"age": 0.25, "income": 1.0, "gender": 0.0}


def test_a_density_above_one_does_not_grow_its_weight_without_bound() -> None:
    weights = learned({"age": -3.0, "income": 2.0, "gender": 0.5}, EQUAL)
    assert 10.0 < weights["age"] < 60.0


def test_a_head_without_labels_keeps_its_learned_weight() -> None:
    balance = UncertaintyBalance(EQUAL)
    losses = {head: (torch.tensor(4.0 * (head != "age")), 4 * (head != "age")) for head in HEADS}
    balance.combine(losses).backward()
    assert balance.log_variance.grad is not None
    assert balance.log_variance.grad[HEADS.index("age")] == 0.0
    assert balance.log_variance.grad[HEADS.index("gender")] != 0.0


def test_the_gradient_step_worsens_no_head() -> None:
    toy, balance = Toy(), GradientBalance(EQUAL)
    gradients = gradients_of(toy)
    assert float(gradients[0] @ gradients[1]) < 0.0, "the toy heads must be in conflict"
    assert (gradients @ step_of(Balance(EQUAL), toy, toy(TARGETS, SCALES))).min() < 0.0
    with balance.watch(toy):
        losses = toy(TARGETS, SCALES)
    step = step_of(balance, toy, losses)
    assert (gradients @ step).min() >= -1e-5
    assert step.norm() > 0.1


def test_heads_that_agree_share_the_gradient_alike() -> None:
    toy, balance = Toy(), GradientBalance(EQUAL)
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    with balance.watch(toy):
        losses = toy(targets, SCALES)
    balance.combine(losses)
    norms = {"age": 200.0, "income": 2.0, "gender": 2.0 * 2.0**0.5}
    shares = [weight * norms[head] for head, weight in balance.weights().items()]
    np.testing.assert_allclose(shares, shares[0], rtol=1e-3)


def test_the_mean_of_the_gradient_weights_is_told_once() -> None:
    toy, balance = Toy(), GradientBalance(EQUAL)
    with balance.watch(toy):
        losses = toy(TARGETS, SCALES)
    balance.combine(losses)
    assert all(weight > 0.0 for weight in balance.weights().values())
    assert set(balance.weights().values()) == {0.0}


@pytest.mark.parametrize("name", NAMES)
def test_a_head_that_is_off_or_without_labels_moves_nothing(name: str) -> None:
    toy = Toy()
    balance = build_balance(name, LossWeights(age=0.0, income=1.0, gender=1.0))
    with balance.watch(toy):
        losses = toy(TARGETS, SCALES)
    losses["income"] = (losses["income"][0] * 0.0, 0)
    balance.combine(losses).backward()
    assert toy.point.grad is not None
    # Only gender is left: the step goes straight to its target.
    toward = toy.point.grad / toy.point.grad.norm()
    torch.testing.assert_close(toward, -TARGETS[2] / TARGETS[2].norm())


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_without_any_label_is_harmless(name: str) -> None:
    toy = Toy()
    balance = build_balance(name, EQUAL)
    with balance.watch(toy):
        losses = toy(TARGETS, SCALES)
    balance.combine({head: (0.0 * total, 0) for head, (total, _) in losses.items()}).backward()
    assert toy.point.grad is not None and not toy.point.grad.any()


@pytest.mark.parametrize("name", NAMES)
def test_squared_years_train_the_reference_network(name: str) -> None:
    torch.manual_seed(0)
    model = ReferenceModel(40, Prior(40.0, 12.0, [0.2, 0.3, 0.5], 0.5))
    balance = build_balance(name, LossWeights(age=0.25, income=1.0, gender=10.0))
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3, alpha=0.9, eps=1e-7)
    balance.join(optimizer)
    tokens = torch.randint(1, 40, (8, SHORTEST_READER_TOKENS))
    labels = Labels(
        age=torch.tensor([20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, float("nan")]),
        income=torch.tensor([0, 1, 2, 0, 1, 2, 0, 1]),
        gender=torch.tensor([0, 1, 0, 1, 0, 1, 0, 1]),
    )
    seen = []
    for _ in range(12):
        with balance.watch(model):
            outputs = model(tokens)
        losses = masked_losses(outputs, labels, None)
        seen.append(
            {head: float(total.detach()) / count for head, (total, count) in losses.items()}
        )
        optimizer.zero_grad()
        balance.combine(losses).backward()
        optimizer.step()
    assert all(np.isfinite(list(each.values())).all() for each in seen)
    assert min(each["age"] for each in seen) < seen[0]["age"]
    assert not model.dense._forward_hooks


def test_the_projection_is_the_best_on_a_grid() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        rows = rng.standard_normal((3, 3))
        gramian = rows @ rows.T + 1e-6 * np.eye(3)
        lowest = rng.random(3)
        found = least_above(lowest, gramian)
        assert (found >= lowest).all()
        best = found @ gramian @ found
        for more in itertools.product(np.linspace(0.0, 3.0, 8), repeat=3):
            other = lowest + np.array(more)
            assert best <= other @ gramian @ other + 1e-9


@pytest.mark.parametrize("name", ["uncertainty", "gradient"])
def test_training_keeps_a_record_of_the_weights(name: Any, tmp_path: Path) -> None:
    model, task = small_task(load_reader_data(ReadingSet(write_easy_set(tmp_path / "easy"))))
    task = replace(task, balance=name, weights=LossWeights(age=1.0, income=0.0, gender=2.0))
    history = train(model, task, Schedule(2, 32, 1e-3, "adamw"))
    for epoch in history.epochs:
        assert epoch["balance"]["income"] == 0.0
        assert epoch["balance"]["age"] > 0.0
    assert history.epochs[0]["balance"] != history.epochs[1]["balance"]
