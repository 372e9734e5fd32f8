"""The losses of the later methods against their original implementations."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from kdbench.distill.losses import cross_entropy, soft_cross_entropy
from kdbench.methods.ctkd import CTKD, CTKDOptions, reversal
from kdbench.methods.divergence import Divergence, DivergenceOptions
from kdbench.methods.dkd import DKD, DKDOptions
from kdbench.methods.lskd import LSKD, LSKDOptions
from kdbench.methods.mlkd import MLKD, MLKDOptions, batch_relation, class_relation
from kdbench.methods.nkd import NKD, NKDOptions
from kdbench.methods.sinkd import SCALE, SinKD, SinKDOptions, annealed
from kdbench.methods.wsl import WSL, WSLOptions
from kdbench.models.inference import entropy
from tests.methods.golden import FOLDER, bare, compare, flat, tensor

GOLDEN = json.loads((FOLDER / "losses2.json").read_text())
ON_LOGITS = ("dkd", "lskd", "nkd", "mlkd", "divergence", "wsl", "ctkd", "sinkd")
LOGITS = [e for e in GOLDEN["entries"] if e["method"] in ON_LOGITS and e["input"]]
TABLES = [e for e in GOLDEN["entries"] if not e["input"]]
LATER = ("rkd",)  # golden values of a method that is not here

Settings = dict[str, Any]
Case = dict[str, Tensor]


def test_no_entry_is_left_out() -> None:
    assert {e["method"] for e in LOGITS} == set(RENDERED) == set(ON_LOGITS)
    assert {e["fn"] for e in TABLES} == {"ctkd.CosineDecay", "ctkd.LinearDecay"}
    rest = {e["method"] for e in GOLDEN["entries"]} - set(ON_LOGITS)
    assert rest == {"tinybert", "minilmv2", *LATER}


def dkd(x: Case, o: Settings, fn: str) -> Tensor:
    method = bare(
        DKD, DKDOptions(alpha=o["alpha"], beta=o["beta"], temperature=o["T"], standardize="logit_stand" in fn)
    )
    distance = method.distance(x["y"], x["t"], x["s"])
    if "forward_train" not in fn:
        return distance
    return o["ce_weight"] * cross_entropy(x["y"], x["s"]) + min(o["epoch"] / o["warmup"], 1) * distance


def lskd(x: Case, o: Settings, fn: str) -> Tensor:
    if "DKD" in fn:
        return dkd(x, o, fn)
    weights = {"ce_weight": o.get("ce_weight", 0.0), "kd_weight": o.get("kd_weight", 1.0), "temperature": o["T"]}
    return bare(LSKD, LSKDOptions(**weights)).objective(x["y"], x["t"], x["s"])


def nkd(x: Case, o: Settings, fn: str) -> Tensor:
    return bare(NKD, NKDOptions(gamma=o["gamma"], temperature=o["T"])).distance(x["y"], x["t"], x["s"])


def mlkd(x: Case, o: Settings, fn: str) -> Tensor:
    if "forward_train" not in fn:
        relation = class_relation if "cc_loss" in fn else batch_relation
        return relation(*((x[name] / o["T"]).softmax(1) for name in "ts"))
    weights = {"ce_weight": o["ce_weight"], "kd_weight": o["kd_weight"], "temperature": o["T"]}
    method = bare(MLKD, MLKDOptions(**weights, standardize="logit_stand" in fn))
    return method.objective(x["y"], (x["t"], x["s"]), (x.get("t2", x["t"]), x.get("s2", x["s"])))


def divergence(x: Case, o: Settings, fn: str) -> Tensor:
    def distance(kind: str, **more: Any) -> Tensor:
        return bare(Divergence, DivergenceOptions(divergence=kind, **more)).distance(x["t"], x["s"])

    name, skew = fn.partition(".")[2], {"skew": o["lam"]} if "lam" in o else {}
    if name == "generalized_jsd_loss":
        return distance("jsd", beta=o["beta"], temperature=o["temperature"])
    if name == "js_distance":
        return distance("jsd", beta=1 - o["lam"])
    forward = {"forward_kl": "kl", "skewed_forward_kl": "skewed_kl"}  # cross-entropies there
    if name in forward:
        return distance(forward[name], **skew) + entropy(x["t"]).mean()
    if name == "symmetric_kl":
        return (1 - o["lam"]) * divergence(x, {}, "distillm.forward_kl") + o["lam"] * distance("reverse_kl")
    kinds = {"reverse_kl": "reverse_kl", "tv_distance": "tvd", "skewed_reverse_kl": "skewed_reverse_kl"}
    return distance(kinds[name], **skew)


def wsl(x: Case, o: Settings, fn: str) -> Tensor:
    distance, _ = bare(WSL, WSLOptions(temperature=o["T"])).distance(x["y"], x["t"], x["s"])
    return o["alpha"] * distance


def ctkd(x: Case, o: Settings, fn: str) -> Tensor:
    options = CTKDOptions(ce_weight=0.0, kd_weight=1.0, tau_start=o["t_start"], tau_range=o["t_end"])
    method = bare(CTKD, options)
    x["param"] = torch.tensor(o["theta"], dtype=x["s"].dtype, requires_grad=True)
    return method.objective(x["y"], x["t"], x["s"], method.tau(x["param"], o["lambda"]))


def sinkd(x: Case, o: Settings, fn: str) -> Tensor:
    if "DistillKL" in fn:
        tau = annealed(o["T"], o["epoch"], o["epochs"]) if "epoch" in o else o["T"]
        return soft_cross_entropy(x["t"] / tau, x["s"] / tau)
    options = SinKDOptions(transport_temperature=o["T"], epsilon=o["epsilon"], iterations=o["n_iters"])
    return o["weight"] * bare(SinKD, options).transport(x["t"], x["s"])


RENDERED: dict[str, Callable[[Case, Settings, str], Tensor]] = {
    "dkd": dkd, "lskd": lskd, "nkd": nkd, "mlkd": mlkd, "divergence": divergence, "wsl": wsl, "ctkd": ctkd,
    "sinkd": sinkd,
}  # fmt: skip


def steep(entry: dict[str, Any]) -> bool:
    """Tell whether the original's gradients are made of its epsilon: standardised rows without spread."""
    return entry["input"].startswith("extreme") and "logit_stand" in entry["fn"]


@pytest.mark.parametrize("entry", LOGITS, ids=[e["id"] for e in LOGITS])
def test_original_values(entry: dict[str, Any]) -> None:
    case, outputs = GOLDEN["inputs"][entry["input"]], entry["outputs"]
    names = [name for name in ("s", "t", "s2", "t2") if name in case]
    x = {name: tensor(case[name], case["dtype"]) for name in names} | {"y": torch.tensor(case["y"])}
    single = case["dtype"] == "float32" or entry["fn"].startswith("distillm")
    tolerance = 2e-5 if single else 1e-9
    loss = RENDERED[entry["method"]](x, entry["settings"], entry["fn"])
    compare(loss, outputs["loss"], tolerance, "loss")
    assert torch.isfinite(loss), "also where the original is not"
    loss.backward()
    for name in (*names, *(["param"] if "param" in x else [])):
        grad, wanted = x[name].grad, outputs.get(f"grad_{name}")
        if grad is None:
            continue
        assert torch.isfinite(grad).all(), f"the gradient of {name} must be finite"
        if wanted is not None and not steep(entry):
            compare(grad, wanted, tolerance, f"grad_{name}")


def test_original_schedules_of_the_reversal() -> None:
    """Training starts with epoch 1; the code's linear schedule, which we do not have, ends at -0.9."""
    (entry,) = [e for e in TABLES if e["fn"] == "ctkd.CosineDecay"]
    ours = [reversal(epoch / entry["settings"]["num_loops"]) for epoch in range(len(entry["outputs"]["values"]))]
    assert ours == pytest.approx(flat(entry["outputs"]["values"]), abs=1e-12)


def gradient(method: Any, t: Tensor, s: Tensor, y: Tensor) -> Tensor:
    """Return the gradient of a distance [B, C]."""
    s = s.clone().requires_grad_()
    (found,) = torch.autograd.grad(method.distance(y, t, s), s)
    return found


def test_two_classes_leave_one_term_of_dkd_and_nkd() -> None:
    case = GOLDEN["inputs"]["normal_B32_C2_float64"]
    s, t, y = (
        tensor(case["s"], "float64", grad=False),
        tensor(case["t"], "float64", grad=False),
        torch.tensor(case["y"]),
    )
    second = {"alpha": 0.0}, {"target_weight": 0.0}
    for method in (bare(DKD, DKDOptions(**second[0])), bare(NKD, NKDOptions(**second[1]))):
        assert gradient(method, t, s, y).abs().max() == 0.0
    assert DKD.two_classes
    assert NKD.two_classes
    assert LSKD.least_classes == 3


def test_the_student_of_a_skewed_divergence_that_is_the_teacher_has_no_gradient() -> None:
    z = torch.randn(8, 5, dtype=torch.float64, generator=torch.Generator(torch.get_default_device()).manual_seed(0))
    for kind in ("kl", "reverse_kl", "jsd", "tvd", "skewed_kl", "skewed_reverse_kl"):
        s = z.clone().requires_grad_()
        value = bare(Divergence, DivergenceOptions(divergence=kind)).distance(z, s)
        value.backward()
        assert abs(value.item()) < 1e-12, kind
        assert s.grad.abs().max() < 1e-12, kind


def test_the_transport_does_not_see_which_row_is_whose() -> None:
    case = GOLDEN["inputs"]["normal_B4_C3_float64"]
    s, t = (tensor(case[name], "float64", grad=False) for name in "st")
    method = bare(SinKD, SinKDOptions())
    assert float(method.transport(t, s)) == pytest.approx(float(method.transport(t, s[[2, 0, 3, 1]])), rel=1e-6)
    assert SCALE == 1e-3
