"""Every loss against the original implementations, and properties of the shared ones."""

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

from kdbench.distill.hidden_states import FeatureView, layer_pairs
from kdbench.distill.losses import dist, hidden_state_distance, kl, logit_mse, soft_cross_entropy
from kdbench.methods.dist import DIST, DISTOptions
from kdbench.methods.dml import DML, DMLOptions
from kdbench.methods.kd import KD, KDOptions
from kdbench.methods.lgtm import LGTM, LGTMOptions
from kdbench.methods.meta_distill import MetaDistill, MetaDistillOptions
from kdbench.methods.pesf_kd import PESFKD, PESFOptions, adapter
from kdbench.methods.prokt import ProKT, ProKTOptions
from kdbench.methods.skd import SKD, SKDOptions
from kdbench.methods.takd import TAKD, TAKDOptions
from kdbench.models.inference import entropy, entropy_gaps
from tests.methods.golden import FOLDER, bare, batch_of, compare, fixed, flat, number, tensor

GOLDEN = json.loads((FOLDER / "losses.json").read_text())
LOGITS = [e for e in GOLDEN["entries"] if e["input"].split("_")[0] in ("normal", "extreme", "equal")]
HIDDEN = [e for e in GOLDEN["entries"] if e["input"].startswith("bertish")]
STATES = [e for e in GOLDEN["entries"] if e["input"].startswith("feats")]
SINGLE = ("kd_not2", "lgtm", "prokt")  # the original computes in float32 whatever it is given

Settings = dict[str, Any]


def test_no_entry_is_left_out() -> None:
    rest = [e["id"] for e in GOLDEN["entries"] if e["input"].startswith("adapter")]
    assert len(LOGITS) + len(HIDDEN) + len(STATES) + len(rest) == len(GOLDEN["entries"])
    assert {e["method"] for e in LOGITS} == set(RENDERED)


def kd_loss(s: Tensor, t: Tensor, y: Tensor, o: Settings, t2: bool = True) -> Tensor:
    options = KDOptions(ce_weight=0.0, kd_weight=1.0, temperature=o["T"], t2=t2)
    return bare(KD, options, student=fixed(s), teacher=fixed(t)).loss(batch_of(y))


def over_elements(s: Tensor, t: Tensor, y: Tensor, o: Settings, weight: str) -> Tensor:
    """PKD's loss on logits, and TAKD's: both take the mean over classes too."""
    w = o[weight]
    options = TAKDOptions(ce_weight=1 - w, kd_weight=w, temperature=o["T"], reduction="elementmean")
    return bare(TAKD, options).objective(y, t, s)


def skd_loss(s: Tensor, t: Tensor, y: Tensor, o: Settings, norm: str, **more: Any) -> Tensor:
    a = o["alpha"]
    options = SKDOptions(ce_weight=1 - a, kd_weight=a, temperature=o["T"], norm=norm, eps=1e-12, **more)
    return bare(SKD, options, student=fixed(s), teacher=fixed(t.detach())).loss(batch_of(y))


def skd_any(s: Tensor, t: Tensor, y: Tensor, o: Settings, fn: str) -> Tensor:
    if "layer_norm" in fn:
        return skd_loss(s, t, y, o, "layernorm", multiplier=o["multiplier"])
    return skd_loss(s, t, y, o, "l2" if "L2" in fn else "std")


def lgtm_loss(s: Tensor, t: Tensor, y: Tensor, o: Settings) -> Tensor:
    method = bare(LGTM, LGTMOptions(student_ce=1 - o["alpha_kd"], teacher_ce=1 - o["alpha_kd_t"]))
    return method._student_loss(batch_of(y), t.detach(), s) + method.auxiliary_loss(batch_of(y), s.detach(), t)


def dml_loss(s: Tensor, t: Tensor, y: Tensor, o: Settings) -> Tensor:
    method = bare(DML, DMLOptions(kl_eps=o["eps"]))
    return method._peer_loss(batch_of(y), s, t.detach()) + method._peer_loss(batch_of(y), t, s.detach())


def dist_loss(s: Tensor, t: Tensor, y: Tensor, o: Settings) -> Tensor:
    options = DISTOptions(
        ce_weight=0, beta=o["beta"], gamma=o["gamma"], temperature=o["tau"], eps=1e-8, eps_place="outside"
    )
    return bare(DIST, options, student=fixed(s), teacher=fixed(t)).loss(batch_of(y))


def prokt_loss(s: Tensor, t: Tensor, y: Tensor, o: Settings) -> Tensor:
    w = o["soft_label_weight"]
    return bare(ProKT, ProKTOptions(teacher_ce=1 - w)).teacher_loss(batch_of(y), t.detach(), s)


def corrected_pair(s: Tensor, t: Tensor, y: Tensor, o: Settings) -> Tensor:
    method = bare(PESFKD, PESFOptions(soft="corrected", temperature=o["T"]))
    return o["T"] ** 2 * method._soft(y, t, s)


RENDERED: dict[str, Callable[..., Tensor]] = {
    "kd": kd_loss,
    "kd_not2": lambda s, t, y, o: kd_loss(s, t, y, o, t2=False),
    "pkd": lambda s, t, y, o: over_elements(s, t, y, o, "alpha"),
    "takd": lambda s, t, y, o: over_elements(s, t, y, o, "lambda_"),
    "skd": skd_any,
    "dist": dist_loss,
    "dml": dml_loss,
    "prokt": prokt_loss,
    "pesfkd": corrected_pair,
    "lgtm": lgtm_loss,
    "metric": lambda s, t, y, o: (entropy(s) - entropy(t)).mean(),
}


@pytest.mark.parametrize("entry", LOGITS, ids=[e["id"] for e in LOGITS])
def test_original_values(entry: dict[str, Any]) -> None:
    case, more = GOLDEN["inputs"][entry["input"]], {"fn": entry["fn"]} if entry["method"] == "skd" else {}
    s, t, y = tensor(case["s"], case["dtype"]), tensor(case["t"], case["dtype"]), torch.tensor(case["y"])
    loss = RENDERED[entry["method"]](s, t, y, entry["settings"], **more)
    tolerance = 2e-5 if case["dtype"] == "float32" or entry["method"] in SINGLE else 1e-9
    extreme = entry["input"].startswith("extreme")
    compare(loss, entry["outputs"]["loss"], tolerance, "loss")
    assert torch.isfinite(loss), "also where the original is not"
    loss.backward()
    for name, leaf in (("grad_s", s), ("grad_t", t)):
        if leaf.grad is not None:
            assert torch.isfinite(leaf.grad).all(), f"{name} must be finite"
            if entry["outputs"].get(name) is not None and not extreme:
                compare(leaf.grad, entry["outputs"][name], 10 * tolerance, name)


@pytest.mark.parametrize("entry", STATES, ids=[e["id"] for e in STATES])
def test_original_patience(entry: dict[str, Any]) -> None:
    case = GOLDEN["inputs"][entry["input"]]
    t, s = tensor(case["teacher_feats"], case["dtype"]), tensor(case["student_feats"], case["dtype"])
    loss = hidden_state_distance(t, s, normalize=entry["settings"]["normalized"])
    tolerance = 2e-5 if case["dtype"] == "float32" else 1e-9
    compare(loss, entry["outputs"]["loss_full_precision"], tolerance, "loss")
    assert float(loss.detach()) == pytest.approx(number(entry["outputs"]["loss"]), rel=1e-3)  # rounded to float16
    loss.backward()
    for name, leaf in (("grad_student_feats", s), ("grad_teacher_feats", t)):
        assert leaf.grad is not None
        if entry["outputs"].get(name) is not None:
            wanted = torch.tensor(flat(entry["outputs"][name]), dtype=leaf.dtype)  # went through float16
            assert (leaf.grad.flatten() - wanted).abs().max() < 1e-3 * wanted.abs().max(), name


@pytest.mark.parametrize("entry", HIDDEN, ids=[e["id"] for e in HIDDEN])
def test_original_losses_with_hidden_states(entry: dict[str, Any]) -> None:
    case, o = GOLDEN["inputs"][entry["input"]], entry["settings"]
    y, classes = torch.tensor(case["y"]), len(case["s"][0])
    heads = [tensor(case[key], case["dtype"]) for key in "ts"]
    stacks = [[tensor(h, case["dtype"]) for h in case[f"{who}_hidden_states"]] for who in ("teacher", "student")]
    chosen = layer_pairs("skip", len(stacks[0]) - 1, len(stacks[1]) - 1)
    assert list(chosen[0]) == [i + 1 for i in o["order"]]
    looks = [FeatureView(layers) if o["beta"] else FeatureView() for layers in chosen]
    t, s = (look(SimpleNamespace(logits=z, hidden_states=h)) for look, z, h in zip(looks, heads, stacks, strict=True))
    shared = {"ce_weight": 1 - o["alpha"], "kd_weight": o["alpha"], "temperature": o["T"], "beta": o["beta"]}
    around = {"teacher_view": looks[0], "context": SimpleNamespace(num_labels=classes)}
    if entry["method"] == "pesfkd":
        method = bare(PESFKD, PESFOptions(**shared, soft="probability_mse"), **around)
        loss, _ = method.objective(y, t, s)
    else:
        soft = "logit_mse" if o["logits_mse"] else "probability_mse"
        loss = bare(MetaDistill, MetaDistillOptions(**shared, soft=soft), **around).student_loss(y, t, s)
    tolerance = 2e-5 if case["dtype"] == "float32" else 1e-9
    compare(loss, entry["outputs"]["loss"], tolerance, "loss")
    loss.backward()
    for name, leaf in (("grad_t", heads[0]), ("grad_s", heads[1])):
        compare(leaf.grad, entry["outputs"][name], 10 * tolerance, name)
    for who, stack, layers in (("teacher", stacks[0], chosen[0]), ("student", stacks[1], chosen[1])):
        wanted = entry["outputs"].get(f"grad_{who}_cls")
        for layer in layers if o["beta"] else ():
            compare(stack[layer].grad[:, 0], wanted[layer], 10 * tolerance, f"state {layer} of the {who}")


def test_original_adapter() -> None:
    (entry,) = [e for e in GOLDEN["entries"] if e["input"].startswith("adapter")]
    case, o = GOLDEN["inputs"][entry["input"]], entry["settings"]
    module = adapter(o["input_size"], o["hidden"], o["out"], 0.1).eval()
    names = {"adapter.0": "narrow", "adapter.2": "wide", "l1.0": "direct"}
    weights = {k: tensor(v, case["dtype"], grad=False) for k, v in case["weights"].items()}
    renamed = {names[k.rpartition(".")[0]] + "." + k.rpartition(".")[2]: v for k, v in weights.items()}
    module.to(getattr(torch, case["dtype"])).load_state_dict(renamed)
    change = module(tensor(case["pooled"], case["dtype"]))
    compare(change, entry["outputs"]["delta_logits"], 2e-5 if case["dtype"] == "float32" else 1e-9, "change")


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
    found = entropy_gaps(torch.zeros(3, 2), torch.tensor([[50.0, -50.0]] * 3))
    assert found["entropy_gap"] == pytest.approx(math.log(2))
    assert found["entropy_gap_abs"] == pytest.approx(math.log(2))
    assert found["sharpness_gap"] == pytest.approx(50 - math.log(2))
