"""Losses are float32 in bfloat16 runs: networks alone are computed in bfloat16."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from kdbench.distill.losses import exact_product, hidden_state_distance
from kdbench.distill.method_registry import METHODS
from kdbench.distill.token_features import attention_scores, masked_mse, relation_kl
from kdbench.methods.mlkd import batch_relation, class_relation
from kdbench.training.setup import numerics
from tests.methods.test_methods import ready

CPU = torch.device("cpu")


@pytest.mark.parametrize("method", METHODS.all())
def test_every_loss_is_float32(method: str, tmp_path: Path) -> None:
    setup = ready(tmp_path, "precision=bf16", "student=tiny-2x32", "teacher=tiny-2x32", methods=method, tasks="mnli")
    with numerics(setup.spec, CPU, 1):
        logs = setup.method.step(setup.train.at(0))
    assert {key: value.dtype for key, value in logs.items()} == dict.fromkeys(logs, torch.float32)


def gradient(loss: object, *values: Tensor) -> list[Tensor]:
    leaves = [value.clone().requires_grad_() for value in values]
    loss(*leaves).backward()  # type: ignore[operator]
    return [leaf.grad for leaf in leaves if leaf.grad is not None]


def test_losses_of_products_are_the_same_inside_autocast() -> None:
    generator = torch.Generator().manual_seed(0)
    t, s = (torch.randn(8, 3, generator=generator).softmax(1) for _ in range(2))
    states, others = (torch.randn(4, 5, 16, generator=generator) for _ in range(2))
    mask = torch.ones(4, 5)
    losses = (
        lambda x: batch_relation(t, x), lambda x: class_relation(t, x), lambda x: exact_product(x.T, t).square().sum(),
        lambda x: (x * s).sum(),
    )  # fmt: skip
    of_states = (
        lambda x: relation_kl(others, x, 4, mask), lambda x: attention_scores(x, x, 4, mask).square().mean(),
        lambda x: masked_mse(others, x, mask[..., None]), lambda x: hidden_state_distance(others, x),
    )  # fmt: skip
    for some, value in ((losses, s), (of_states, states)):
        for loss in some:
            exact = gradient(loss, value)
            with torch.autocast("cpu", torch.bfloat16):
                assert torch.equal(gradient(loss, value)[0], exact[0])


def test_states_in_half_precision_are_compared_in_float32() -> None:
    one, other = torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    half = one.bfloat16()
    assert masked_mse(other, half, None).item() == (half.float() - other).square().mean().item()
    assert hidden_state_distance(other, half).dtype == torch.float32
