"""The meta-gradient of Meta Distill, and LGTM's influence, against second-order automatic differentiation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from kdbench.distill.bilevel import gradient
from kdbench.distill.losses import cross_entropy
from kdbench.methods.meta_distill import MetaDistill
from tests.methods import golden
from tests.methods.test_lgtm_golden import close


@pytest.mark.parametrize("name", ["mlp_C2", "mlp_C3"])
def test_the_published_gradient(name: str) -> None:
    """Of the original's loss: alpha tau^2 MSE of probabilities + (1 - alpha) CE, an SGD pilot step."""
    case = golden.mlp_case(name)
    wanted, o = case["metadistil"], case["metadistil"]["settings"]
    classes = len(case["student"]["classifier.bias"])
    method = golden.meta(
        golden.Perceptron(case["student"]), golden.Perceptron(case["teacher"]), classes, soft="probability_mse",
        ce_weight=1 - o["alpha"], kd_weight=o["alpha"], temperature=o["T"], pilot_lr=o["assume_s_step_size"],
    )  # fmt: skip
    found = method.meta_gradient(golden.features(case["batch"]), [golden.features(case["val_batch"])])
    close(found, wanted["teacher_grad_second_order"], 1e-9)


def second_order(method: MetaDistill, batch: Any, held: Any, seed: int) -> dict[str, Tensor]:
    """The same gradient through the graph of the pilot step."""
    torch.manual_seed(seed)
    o, student = method.options, method.student
    with student.mode(o.mode_pilot == "train"), method.teacher.mode(False):
        s, t = method._student_features(batch), method._teacher_features(batch)
    params = student.named_params()
    loss = method.student_loss(batch.labels, t, s)
    slopes = torch.autograd.grad(loss, list(params.values()), create_graph=True)
    ahead = {name: p - o.pilot_lr * g for (name, p), g in zip(params.items(), slopes, strict=True)}
    with student.mode(False):
        logits = functional_call(student.module, ahead, (), held.inputs).logits
    return gradient(cross_entropy(held.labels, logits), method.teacher.named_params())


@pytest.mark.parametrize("soft", ["kl", "probability_mse", "logit_mse"])
@pytest.mark.parametrize("beta", [0.0, 10.0])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_bert_with_dropout_and_hidden_states(soft: str, beta: float, dropout: float) -> None:
    noise = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    student, teacher = (golden.bert(role, torch.float64, **noise) for role in ("student", "teacher"))
    method = golden.meta(student, teacher, 3, soft=soft, beta=beta, temperature=2.0, pilot_lr=0.05)
    batch, held = golden.tokens("batch"), golden.tokens("val_batch")
    torch.manual_seed(7)
    found = method.meta_gradient(batch, [held])
    close(found, second_order(method, batch, held, 7), 1e-8)


def test_several_held_batches_are_one_large_one() -> None:
    method = golden.meta(golden.bert("student", torch.float64), golden.bert("teacher", torch.float64), 3, pilot_lr=0.05)
    batch, whole = golden.tokens("batch"), golden.tokens("val_batch")
    parts = [type(whole)(*(getattr(whole, name)[rows] for name in WHAT)) for rows in (slice(0, 3), slice(3, None))]
    close(method.meta_gradient(batch, parts), method.meta_gradient(batch, [whole]), 1e-9)


WHAT = ("input_ids", "attention_mask", "token_type_ids", "labels", "index")


@pytest.mark.parametrize("loss", ["ce_ts", "kl_st", "kd_loss"])
@pytest.mark.parametrize("kd_loss", ["kl", "dist", "mse"])
def test_the_influence_of_every_objective(loss: str, kd_loss: str) -> None:
    """The gradient of d/d eps L(T, S(theta + eps v)), differentiated in reverse twice instead."""
    student, teacher = golden.bert("student", torch.float64), golden.bert("teacher", torch.float64)
    method = golden.lgtm(student, teacher, 0.05, influence_loss=loss, kd_loss=kd_loss)
    batch, feedback = golden.tokens("batch"), golden.tokens("val_batch")
    s, t = method._forward(batch)
    v = method.direction(batch, feedback, s, t)
    found = gradient(method.influence(batch, t, v), method.teacher.named_params(), keep_graph=True)
    with method.student.mode(False):
        value = method._influence_loss(t, method.student.logits(batch))
    slopes = torch.autograd.grad(value, list(method.student.named_params().values()), create_graph=True)
    along = torch.stack([(g * d).sum() for g, d in zip(slopes, v.values(), strict=True)]).sum()
    close(found, gradient(along, method.teacher.named_params()), 1e-8)


def test_the_exact_meta_gradient_through_adam() -> None:
    """With the preconditioned direction and the coefficient `student_lr`, against second order."""
    student, teacher = golden.bert("student", torch.float64), golden.bert("teacher", torch.float64)
    options = {"lookahead": "adam", "precondition": True, "influence_coef": "student_lr", "mode_lookahead": "eval"}
    method = golden.lgtm(student, teacher, 0.01, **options)
    batch, feedback = golden.tokens("batch"), golden.tokens("val_batch")
    learner, params = method.student, method.student.named_params()
    for _ in range(3):  # moments that are not zero
        learner.step(cross_entropy(batch.labels, learner.logits(batch)))
    s, t = method._forward(batch)
    term = method.influence(batch, t, method.direction(batch, feedback, s, t))
    coefficient, _ = method._coefficient(torch.zeros(()), term)
    found = gradient(coefficient * term, method.teacher.named_params(), keep_graph=True)
    slopes = torch.autograd.grad(method._student_loss(batch, t, s), list(params.values()), create_graph=True)
    step, eps, ahead = learner.updates + 1, learner.adam_eps, {}
    scale = learner.current_lr * (1 - 0.999**step) ** 0.5 / (1 - 0.9**step)
    for (name, p), g in zip(params.items(), slopes, strict=True):
        state = learner.optimizer.state[p]
        m, q = 0.9 * state["exp_avg"] + 0.1 * g, 0.999 * state["exp_avg_sq"] + 0.001 * g.square()
        ahead[name] = p - scale * m / ((q + 1e-40).sqrt() + eps)
    loss = cross_entropy(feedback.labels, learner.logits_at(ahead, feedback))
    close(found, gradient(loss, method.teacher.named_params()), 1e-6)
