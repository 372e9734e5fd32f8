"""Losses against the original implementations, and their properties."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kdbench.data.batches import Batch
from kdbench.losses import dist, kl, logit_mse, soft_cross_entropy
from kdbench.training.evaluate import entropy, gaps
from methods.dml import DML, DMLOptions
from methods.kd import KD, KDOptions
from methods.lgtm import LGTM, LGTMOptions
from tests.methods.golden import FOLDER

GOLDEN = json.loads((FOLDER / "losses.json").read_text())
OURS = ("kd", "kd_not2", "dml", "lgtm", "dist", "metric")
ENTRIES = [e for e in GOLDEN["entries"] if e["method"] in OURS and e["settings"].get("eps", 0) == 0]


def logits(name: str) -> tuple[Tensor, Tensor, Tensor, torch.dtype]:
    case = GOLDEN["inputs"][name]
    dtype = getattr(torch, case["dtype"])
    s, t = (torch.tensor(case[k], dtype=dtype, requires_grad=True) for k in "st")
    return s, t, torch.tensor(case["y"]), dtype


def bare(kind: type, options: Any, **more: Any) -> Any:
    """A method without networks, for its losses."""
    made = kind.__new__(kind)
    made.options = options
    vars(made).update(more)
    return made


def batch_of(y: Tensor) -> Batch:
    return Batch(y, y, y, y, y)


def kd_loss(s: Tensor, t: Tensor, y: Tensor, o: dict[str, Any], t2: bool = True) -> Tensor:
    options = KDOptions(ce_weight=0.0, kd_weight=1.0, temperature=o["T"], t2=t2)
    fixed = [SimpleNamespace(logits=lambda _, z=z: z) for z in (s, t)]
    return bare(KD, options, student=fixed[0], teacher=fixed[1]).loss(batch_of(y))


def lgtm_loss(s: Tensor, t: Tensor, y: Tensor, o: dict[str, Any]) -> Tensor:
    method = bare(LGTM, LGTMOptions(student_ce=1 - o["alpha_kd"], teacher_ce=1 - o["alpha_kd_t"]))
    return method._student_loss(batch_of(y), t.detach(), s) + method.auxiliary_loss(batch_of(y), s.detach(), t)


def dml_loss(s: Tensor, t: Tensor, y: Tensor, o: dict[str, Any]) -> Tensor:
    method = bare(DML, DMLOptions())
    return method._peer_loss(batch_of(y), s, t.detach()) + method._peer_loss(batch_of(y), t, s.detach())


def dist_loss(s: Tensor, t: Tensor, y: Tensor, o: dict[str, Any]) -> Tensor:
    return dist(t, s, o["beta"], o["gamma"], o["tau"], eps=1e-9)


RENDERED: dict[str, Callable[[Tensor, Tensor, Tensor, dict[str, Any]], Tensor]] = {
    "kd": kd_loss,
    "kd_not2": lambda s, t, y, o: kd_loss(s, t, y, o, t2=False),
    "lgtm": lgtm_loss,
    "dml": dml_loss,
    "dist": dist_loss,
    "metric": lambda s, t, y, o: (entropy(s) - entropy(t)).mean(),
}


def number(value: Any) -> float:
    return float(value) if value is not None else math.nan


@pytest.mark.parametrize("entry", ENTRIES, ids=[e["id"] for e in ENTRIES])
def test_original_values(entry: dict[str, Any]) -> None:
    s, t, y, dtype = logits(entry["input"])
    loss = RENDERED[entry["method"]](s, t, y, entry["settings"])
    single = dtype == torch.float32 or entry["method"] in ("kd_not2", "lgtm")
    tolerance = 2e-5 if single else 1e-9
    if entry["method"] == "dist":
        tolerance = max(tolerance, 1e-6)  # the original adds its epsilon outside the root
    wanted = number(entry["outputs"]["loss"])
    extreme = entry["input"].startswith(("extreme", "equal"))
    if math.isfinite(wanted) and not (extreme and entry["method"] == "dist"):
        assert float(loss.detach()) == pytest.approx(wanted, rel=tolerance, abs=tolerance)
    loss.backward()
    for name, tensor in (("grad_s", s), ("grad_t", t)):
        stored = entry["outputs"].get(name)
        if tensor.grad is None:
            continue
        assert torch.isfinite(tensor.grad).all(), f"{name} must be finite"
        if stored is not None and not extreme:
            expected = torch.tensor([[number(v) for v in row] for row in stored], dtype=dtype)
            assert torch.allclose(tensor.grad, expected, rtol=10 * tolerance, atol=10 * tolerance), name


vectors = st.lists(st.floats(-30, 30), min_size=3, max_size=3)


@given(vectors, vectors)
def test_kl_is_a_divergence(a: list[float], b: list[float]) -> None:
    p, q = torch.tensor([a], dtype=torch.float64), torch.tensor([b], dtype=torch.float64)
    assert kl(p, q) >= -1e-12
    assert abs(float(kl(p, p))) < 1e-12
    assert torch.allclose(soft_cross_entropy(p, q), kl(p, q) + entropy(p).mean())


@given(vectors, vectors, st.floats(-5, 5))
def test_probabilities_do_not_see_a_shift(a: list[float], b: list[float], shift: float) -> None:
    p, q = torch.tensor([a], dtype=torch.float64), torch.tensor([b], dtype=torch.float64)
    assert torch.allclose(kl(p, q), kl(p + shift, q - shift), atol=1e-9)


def test_kl_of_the_student_has_the_gradient_of_the_soft_cross_entropy() -> None:
    t = torch.randn(5, 3, dtype=torch.float64)
    s = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    (a,) = torch.autograd.grad(kl(t, s), s)
    (b,) = torch.autograd.grad(soft_cross_entropy(t, s), s)
    assert torch.allclose(a, b)


def test_dist_survives_equal_rows_and_columns() -> None:
    """A classifier of zeros gives every example the same prediction."""
    s = torch.zeros(4, 2, requires_grad=True)
    loss = dist(torch.randn(4, 2), s)
    loss.backward()
    assert torch.isfinite(loss)
    assert s.grad.abs().max() < 1e4


def test_mse_is_the_mean_over_all_elements() -> None:
    assert float(logit_mse(torch.zeros(2, 3), torch.full((2, 3), 2.0))) == 4.0


def test_gaps() -> None:
    """A uniform student under a certain teacher: the gap is ln C."""
    found = gaps(torch.zeros(3, 2), torch.tensor([[50.0, -50.0]] * 3))
    assert found["entropy_gap"] == pytest.approx(math.log(2))
    assert found["entropy_gap_abs"] == pytest.approx(math.log(2))
    assert found["sharpness_gap"] == pytest.approx(50 - math.log(2))
