"""LGTM against the authors' code and against exact derivatives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from kdbench.distill.bilevel import gradient, jvp, sample_weights
from kdbench.methods.lgtm import LGTM
from tests.methods import golden

FORMS = {
    "exact_ce_ts": {"influence": "jvp", "influence_loss": "ce_ts"},
    "exact_kl_st": {"influence": "jvp", "influence_loss": "kl_st"},
    "eq9_detached_w": {"influence": "weighted", "weights_via": "samples"},
    "fda_rel_ce_ts": {"influence": "fda", "influence_loss": "ce_ts"},
    "fda_rel_kl_st": {"influence": "fda", "influence_loss": "kl_st"},
    "fda_abs_ce_ts": {"influence": "fda", "influence_loss": "ce_ts", "fda_eps_mode": "abs", "fda_eps": 1e-3},
    "fda_abs_kl_st": {"influence": "fda", "influence_loss": "kl_st", "fda_eps_mode": "abs", "fda_eps": 1e-3},
}
MLP = ("mlp_C2", "mlp_C3")


def mlp(name: str, **options: Any) -> tuple[LGTM, dict[str, Any], Any, Any]:
    case = golden.mlp_case(name)
    student, teacher = golden.Perceptron(case["student"]), golden.Perceptron(case["teacher"])
    method = golden.lgtm(student, teacher, case["settings"]["eta_student"], **options)
    return method, case["outputs"], golden.features(case["batch"]), golden.features(case["val_batch"])


def bert(**options: Any) -> tuple[LGTM, dict[str, Tensor], Any, Any]:
    student, teacher = golden.bert("student", torch.float64), golden.bert("teacher", torch.float64)
    method = golden.lgtm(student, teacher, 0.05, **options)
    outputs = golden.load_golden("bert_C3_exact.safetensors")
    return method, outputs, golden.tokens("batch"), golden.tokens("val_batch")


def close(found: dict[str, Tensor], wanted: dict[str, Any], tolerance: float) -> None:
    """Every tensor, relative to the largest of its own gradient."""
    assert found.keys() == wanted.keys()
    scale = max(float(torch.as_tensor(w).abs().max()) for w in wanted.values())
    for name, value in found.items():
        error = float((value - torch.as_tensor(wanted[name], dtype=value.dtype)).abs().max())
        assert error <= tolerance * scale, f"{name}: {error:.2e} of {scale:.2e}"


def under(outputs: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(f"{prefix}/"): v for k, v in outputs.items() if k.startswith(f"{prefix}/")}


@pytest.mark.parametrize("name", MLP)
def test_direction_is_the_gradient_at_the_lookahead(name: str) -> None:
    method, outputs, batch, feedback = mlp(name)
    s, t = method._forward(batch)
    close(method.direction(batch, feedback, s, t), outputs["v"], 1e-9)


@pytest.mark.parametrize("name", MLP)
@pytest.mark.parametrize("via", ["jvp", "samples", "loop", "fda"])
def test_weights_of_eq_8_agree_in_all_four_ways(name: str, via: str) -> None:
    method, outputs, batch, feedback = mlp(name, weights_via=via)
    s, t = method._forward(batch)
    w = method._weights(batch, t.detach(), method.direction(batch, feedback, s, t))
    keys = {"jvp": "w_jvp", "fda": "w_fda_rel"}
    key = keys.get(via, "w_per_sample_autograd")
    assert torch.allclose(w, torch.tensor(outputs[key], dtype=w.dtype), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", MLP)
@pytest.mark.parametrize("form", FORMS)
def test_teacher_gradient_of_each_form_mlp(name: str, form: str) -> None:
    method, outputs, batch, feedback = mlp(name, **FORMS[form])
    s, t = method._forward(batch)
    term = method.influence(batch, t, method.direction(batch, feedback, s, t))
    close(gradient(term, method.teacher.named_params()), outputs["teacher_grad"][form], 1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_teacher_gradient_of_each_form_bert(form: str) -> None:
    method, outputs, batch, feedback = bert(**FORMS[form])
    s, t = method._forward(batch)
    term = method.influence(batch, t, method.direction(batch, feedback, s, t))
    close(gradient(term, method.teacher.named_params()), under(outputs, form), 1e-8)


@pytest.mark.parametrize("kind", ["ce_ts", "kl_st"])
def test_auxiliary_gradient(kind: str) -> None:
    method, outputs, batch, _ = bert(teacher_kd=kind)
    s, t = method._forward(batch)
    aux = method.auxiliary_loss(batch, s.detach(), t)
    close(gradient(aux, method.teacher.named_params()), under(outputs, f"aux_{kind}"), 1e-9)


def test_influence_is_the_exact_meta_gradient() -> None:
    """-eta_s (1 - alpha) times the exact influence gradient is second-order autograd's answer."""
    method, outputs, batch, feedback = bert(influence_coef="student_lr")
    s, t = method._forward(batch)
    term = method.influence(batch, t, method.direction(batch, feedback, s, t))
    coefficient, _ = method._coefficient(torch.zeros(()), term)
    found = gradient(coefficient * term, method.teacher.named_params())
    close(found, under(outputs, "meta_second_order"), 1e-8)


def test_forward_derivative_and_weights_bert() -> None:
    method, outputs, batch, feedback = bert()
    s, t = method._forward(batch)
    z, dz = jvp(method.student, method.direction(batch, feedback, s, t), batch)
    assert torch.allclose(z, outputs["student_logits"], atol=1e-12)
    assert torch.allclose(dz, outputs["student_logits_jvp"], rtol=1e-8, atol=1e-10)
    assert torch.allclose(sample_weights(t, z, dz), outputs["w"], rtol=1e-8, atol=1e-10)


def test_one_teacher_step_as_released() -> None:
    """The authors' own code: AdamW look-ahead, finite difference, KL(S||T), the teacher's rate as coefficient."""
    released = golden.load_golden("bert_C3_released.safetensors")
    wanted = {kind: under(released, f"released/{kind}") for kind in ("v", "aux_grad", "teacher_grad_total")}
    student, teacher = golden.bert("student", torch.float32), golden.bert("teacher", torch.float32)
    method = golden.lgtm(student, teacher, 0.01, 0.1, **LGTM.variants["lgtm_released"][1])
    batch, feedback = golden.tokens("batch"), golden.tokens("val_batch")
    s, t = method._forward(batch)
    v = method.direction(batch, feedback, s, t)
    close(v, wanted["v"], 2e-4)
    aux, term = method.auxiliary_loss(batch, s.detach(), t), method.influence(batch, t, v)
    params = method.teacher.named_params()
    close(gradient(aux, params, keep_graph=True), wanted["aux_grad"], 2e-5)
    coefficient, _ = method._coefficient(aux, term)
    close(gradient(aux + coefficient * term, params), wanted["teacher_grad_total"], 2e-4)


@pytest.mark.parametrize("name", MLP)
def test_a_teacher_step_lowers_the_validation_loss(name: str) -> None:
    """The sign: after following minus the influence gradient, the student's look-ahead loss on feedback is lower."""
    method, _, batch, feedback = mlp(name)

    def validation_loss() -> Tensor:
        s, t = method._forward(batch)
        grad = gradient(method._student_loss(batch, t.detach(), s), method.student.named_params())
        from kdbench.distill.bilevel import sgd_step

        ahead = sgd_step(method.student.named_params(), grad, method.student.current_lr)
        return torch.nn.functional.cross_entropy(method.student.logits_at(ahead, feedback), feedback.labels)

    before = validation_loss()
    s, t = method._forward(batch)
    term = method.influence(batch, t, method.direction(batch, feedback, s, t))
    assert method.options.influence_sign == -1
    for parameter, slope in zip(
        method.teacher.params, gradient(-term, method.teacher.named_params()).values(), strict=True
    ):
        parameter.data -= 1e-2 * slope
    assert validation_loss() < before


@pytest.mark.parametrize(("form", "tolerance"), [("jvp", 1e-9), ("fda", 2e-3)])
def test_centered_influence_is_the_covariance_of_teacher_and_change(form: str, tolerance: float) -> None:
    """mean_i T_i . (dz_i - mean_j dz_j), with dz the student's change of logits: what all samples share is gone."""
    method, _, batch, feedback = bert(influence=form, influence_center="batch")
    s, t = method._forward(batch)
    v = method.direction(batch, feedback, s, t)
    _, dz = jvp(method.student, v, batch)
    wanted = -(t.softmax(1) * (dz - dz.mean(0))).sum(1).mean()
    params = method.teacher.named_params()
    close(gradient(method.influence(batch, t, v), params, keep_graph=True), gradient(wanted, params), tolerance)


def test_centered_influence_pushes_a_constant_teacher_to_no_class() -> None:
    method, _, batch, feedback = bert(influence_center="batch")
    s, t = method._forward(batch)
    v = method.direction(batch, feedback, s, t)
    constant = t.detach()[:1].repeat(len(t), 1).requires_grad_()
    (slope,) = torch.autograd.grad(method.influence(batch, constant, v), constant)
    assert slope.sum(0).abs().max() < 1e-12 * slope.abs().max()
    method.options = method.options.model_copy(update={"influence_center": "none"})
    (slope,) = torch.autograd.grad(method.influence(batch, constant, v), constant)
    assert slope.sum(0).abs().max() > 0.1 * slope.abs().max()


def test_centered_weights_of_eq_9_add_up_to_zero() -> None:
    """Each sample's loss counts more or less than the mean, and none of them changes the sum."""
    method, _, batch, feedback = bert(influence="weighted", influence_center="batch")
    s, t = method._forward(batch)
    v = method.direction(batch, feedback, s, t)
    w = method._weights(batch, t.detach(), v)
    each = -(t.softmax(1) * method.student.target_logits(batch).log_softmax(1)).sum(1)
    assert torch.allclose(method.influence(batch, t, v), ((w - w.mean()) * each).mean(), rtol=1e-9)


@pytest.mark.parametrize("bound", [0.5, 1.5, 1e9])
@pytest.mark.parametrize("influence_teacher", ["shared", "eval"])
def test_bound_shortens_the_influence_sample_by_sample(bound: float, influence_teacher: str) -> None:
    method, _, batch, feedback = bert(influence_bound=bound, influence_teacher=influence_teacher)
    s, t = method._forward(batch)
    v = method.direction(batch, feedback, s, t)
    seen = t if influence_teacher == "shared" else method.teacher.logits(batch)
    aux, term = method.auxiliary_loss(batch, s.detach(), t), -40.0 * method.influence(batch, seen, v)
    found = torch.autograd.grad(method._bounded(term, seen, aux, t), seen, retain_graph=True)[0]
    whole = torch.autograd.grad(term, seen, retain_graph=True)[0]
    most = bound * torch.autograd.grad(aux, t, retain_graph=True)[0].norm(dim=1)
    length = whole.norm(dim=1)
    assert torch.allclose(found.norm(dim=1), torch.minimum(length, most), rtol=1e-9)
    assert torch.allclose(found * length[:, None], whole * found.norm(dim=1, keepdim=True), rtol=1e-9, atol=1e-15)
    if bound < 100:
        assert (length > most).any()  # the case is one in which the bound matters
