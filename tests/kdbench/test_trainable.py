"""The optimiser and its schedule, against formulas."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from kdbench.core.settings import Training
from kdbench.distill.bilevel import adam_step
from kdbench.distill.trainable import TrainableModel


def learner(**settings: Any) -> TrainableModel:
    torch.manual_seed(0)
    module = nn.Linear(3, 2, dtype=torch.float64)
    return TrainableModel(module, lr=0.1, length=10, training=Training(**settings), device=torch.device("cpu"))


def test_adamw_adds_epsilon_to_the_uncorrected_root() -> None:
    """m = b1 m + (1-b1) g, q likewise; theta -= lr sqrt(bc2)/bc1 m / (sqrt(q) + eps), as the LGTM code's AdamW."""
    made = learner(adam_eps=1e-2, weight_decay=0.1)
    theta = made.module.weight.detach().clone()
    m, q = torch.zeros_like(theta), torch.zeros_like(theta)
    for t in range(1, 6):
        gradient = torch.randn_like(theta)
        lr = made.current_lr
        made.apply([gradient.clone(), torch.zeros(2, dtype=torch.float64)])
        m, q = 0.9 * m + 0.1 * gradient, 0.999 * q + 0.001 * gradient**2
        theta = theta * (1 - lr * 0.1)
        theta = theta - lr * math.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (q.sqrt() + 1e-2)
        assert torch.allclose(made.module.weight, theta, rtol=1e-10, atol=1e-12)


def test_the_schedule_falls_linearly_to_zero_after_the_warmup() -> None:
    made = learner()
    rates = []
    for _ in range(10):
        rates.append(made.current_lr)
        made.apply([torch.zeros_like(p) for p in made.params])
    assert torch.allclose(torch.tensor(rates), torch.tensor([0.1 * (10 - k) / 10 for k in range(10)]))
    assert made.current_lr == 0


@pytest.mark.parametrize(("recipe", "rates"), [(1, [0.05, 0.1, 0.1, 0.0875]), (2, [0.0, 0.05, 0.1, 0.0875])])
def test_the_warmup_begins_at_zero_as_in_hugging_face(recipe: int, rates: list[float]) -> None:
    made = learner(warmup=0.2, recipe=recipe)
    found = []
    for _ in rates:
        found.append(made.current_lr)
        made.apply([torch.zeros_like(p) for p in made.params])
    assert found == pytest.approx(rates)


@pytest.mark.parametrize(("recipe", "factor"), [(1, 0.98), (2, 1.0)])
def test_biases_do_not_decay(recipe: int, factor: float) -> None:
    made = learner(weight_decay=0.2, recipe=recipe)
    weight, bias = (p.detach().clone() for p in made.params)
    made.apply([torch.zeros_like(p) for p in made.params])
    assert torch.allclose(made.params[0], 0.98 * weight)
    assert torch.allclose(made.params[1], factor * bias)


def test_the_schedule_can_be_restarted() -> None:
    made = learner()
    for _ in range(4):
        made.apply([torch.zeros_like(p) for p in made.params])
    made.restart_schedule(5)
    assert made.current_lr == 0.1


def test_the_lookahead_is_the_step_that_the_optimiser_would_take() -> None:
    """And its slope is the derivative of that step, and neither touches the learner."""
    made = learner(adam_eps=1e-3, weight_decay=0.05)
    for _ in range(3):
        made.apply([torch.randn_like(p) for p in made.params])
    gradient = {name: torch.randn_like(p) for name, p in made.named_params().items()}
    before = {k: v.clone() for k, v in made.state()[0].items()}
    ahead, slope = adam_step(made, gradient)
    nudge = 1e-6
    nudged, _ = adam_step(made, {name: g + nudge for name, g in gradient.items()})
    for name in gradient:
        assert torch.allclose(-(nudged[name] - ahead[name]) / nudge, slope[name], rtol=1e-3, atol=1e-9)
    assert all(torch.equal(v, before[k]) for k, v in made.state()[0].items())
    made.apply(list(gradient.values()))
    for name, parameter in made.named_params().items():
        assert torch.allclose(parameter, ahead[name], rtol=1e-10)


def test_clipping() -> None:
    made = learner(max_grad_norm=1.0)
    made.module.weight.grad = torch.full_like(made.module.weight, 100.0)
    made.module.bias.grad = torch.zeros_like(made.module.bias)
    seen: list[float] = []
    made.optimizer.register_step_pre_hook(lambda *_: seen.append(float(made.module.weight.grad.norm())))
    made._update()
    assert abs(seen[0] - 1.0) < 1e-4
