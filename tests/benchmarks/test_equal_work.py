"""Before times are compared: contestants compute the same, dropout aside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.batches import padded
from benchmarks.contestants import bare
from benchmarks.contestants.influence import by_rows
from benchmarks.contestants.lgtm_released import TEACHER_KD, Released
from benchmarks.contestants.second_order import PILOT_RATE, SecondOrder
from benchmarks.suites import EQUAL
from kdbench.core.settings import Training
from kdbench.data.batches import Batch
from kdbench.distill.bilevel import gradient, jvp, sample_weights
from kdbench.distill.trainable import TrainableModel
from kdbench.methods.kd import KD, KDOptions
from kdbench.methods.lgtm import RELEASED
from tests.benchmarks.small import apart, batches, flat, networks
from tests.methods import golden

ABSENT = "make benchmark installs it"
Loss = Callable[[nn.Module, nn.Module, Batch, Path], Tensor]


def by_kdbench(student: nn.Module, teacher: nn.Module, batch: Batch, folder: Path) -> Tensor:
    method = KD.__new__(KD)
    method.options = KDOptions()
    return method.objective(batch.labels, teacher(**batch.inputs).logits.detach(), student(**batch.inputs).logits)


def by_hand(student: nn.Module, teacher: nn.Module, batch: Batch, folder: Path) -> Tensor:
    return bare.objective(batch.labels, teacher(**batch.inputs).logits.detach(), student(**batch.inputs).logits)


def by_trainer(student: nn.Module, teacher: nn.Module, batch: Batch, folder: Path) -> Tensor:
    pytest.importorskip("accelerate", reason=ABSENT)
    from benchmarks.contestants.trainer import build

    loss: Tensor = build(student, teacher, [None], EQUAL, str(folder)).compute_loss(student, named(batch))
    return loss


def by_textbrewer(student: nn.Module, teacher: nn.Module, batch: Batch, folder: Path) -> Tensor:
    """Less what its CE(T, S) has over KL(T || S): the teacher's entropy, a constant."""
    pytest.importorskip("textbrewer", reason=ABSENT)
    from benchmarks.contestants.textbrewer import build

    loss, _ = build(student, teacher, str(folder)).train_on_batch(named(batch), {})
    t = teacher(**batch.inputs).logits.detach()
    return loss + 0.4 * (t.softmax(1) * t.log_softmax(1)).sum(1).mean()


def by_torchdistill(student: nn.Module, teacher: nn.Module, batch: Batch, folder: Path) -> Tensor:
    pytest.importorskip("torchdistill", reason=ABSENT, exc_type=ImportError)
    from benchmarks.contestants.torchdistill import build, forward

    return forward(build(student, teacher, None, EQUAL), named(batch))


def named(batch: Batch) -> dict[str, Any]:
    return {**batch.inputs, "labels": batch.labels}


@pytest.mark.parametrize("loss", [by_hand, by_trainer, by_textbrewer, by_torchdistill])
def test_the_losses_of_kd_agree(loss: Loss, tmp_path: Path) -> None:
    batch, _ = batches()
    found = []
    for one in (by_kdbench, loss):
        student, teacher = networks()
        value = one(student, teacher.eval(), batch, tmp_path)
        found.append((value.item(), flat(torch.autograd.grad(value, list(student.parameters())))))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-5)
    assert apart(found[1][1], found[0][1]) < 1e-5


def released() -> tuple[Released, Any]:
    """The rendering, and kdbench's variant, on equal networks after one update of each."""
    made = []
    for _ in range(2):
        student, teacher = networks(torch.float64)
        method = golden.lgtm(student, teacher, 1e-3, 1e-3, **RELEASED)
        training = Training(adam_eps=1e-12)  # the two add it in other places
        method.student, method.teacher = (
            TrainableModel(m, lr=1e-3, length=10**9, training=training, device=torch.device("cpu"))
            for m in (student, teacher)
        )
        _, feedback = batches()
        for learner in (method.student, method.teacher):
            learner.step(torch.nn.functional.cross_entropy(learner.logits(feedback), feedback.labels))
        made.append(method)
    rendered, method = made
    for learner in (rendered.student, rendered.teacher):
        learner.optimizer.param_groups[0]["lr"] = 1e-3
    networks_of = rendered.student.module, rendered.teacher.module
    return Released(*networks_of, (rendered.student.optimizer, rendered.teacher.optimizer)), method


def test_the_released_lgtm_is_ours() -> None:
    """Direction, influence, and the whole gradient of the teacher."""
    batch, feedback = batches()
    rendered, method = released()
    s, t = method._forward(batch)
    v = method.direction(batch, feedback, s, t)
    theirs = rendered.direction(
        rendered.student_loss(batch, rendered.teacher(**batch.inputs).logits, rendered.student(**batch.inputs).logits),
        feedback,
    )
    assert apart(flat(theirs), flat(v.values())) < 1e-6
    params = method.teacher.named_params()
    term = method.influence(batch, t, v)
    ours = TEACHER_KD * flat(gradient(term, params, keep_graph=True).values())
    assert apart(flat(rendered.influence_gradient(batch, list(v.values()))), ours) < 1e-6
    method.context.feedback = lambda: feedback
    coefficient, _ = method._coefficient(torch.zeros(()), term)
    whole = flat(gradient(method.auxiliary_loss(batch, s.detach(), t) + coefficient * term, params).values())
    assert apart(flat(rendered.teacher_gradient(batch, feedback)), whole) < 1e-6


def test_the_student_is_back_after_the_finite_difference() -> None:
    batch, _ = batches()
    rendered, _ = released()
    before = flat(rendered.student.parameters()).detach().clone()
    rendered.influence_gradient(batch, [torch.ones_like(p) for p in rendered.student.parameters()])
    assert apart(flat(rendered.student.parameters()).detach(), before) < 1e-12


def test_the_second_order_gradient_is_ours() -> None:
    batch, held = batches()
    student, teacher = networks(torch.float64)
    ours = golden.meta(student, teacher, 2, pilot_lr=PILOT_RATE).meta_gradient(batch, [held])
    optimizers = torch.optim.AdamW(student.parameters()), torch.optim.AdamW(teacher.parameters())
    theirs = SecondOrder(student, teacher, optimizers).teacher_gradient(batch, held)
    assert apart(flat(theirs), flat(ours.values())) < 1e-4


def test_padding_changes_nothing() -> None:
    batch, _ = batches()
    student, _ = networks()
    wide = padded(batch)
    assert wide.input_ids.shape == (len(batch), 128)
    assert torch.allclose(student(**wide.inputs).logits, student(**batch.inputs).logits, atol=1e-5)


def test_the_weights_of_a_row_at_a_time_are_those_of_one_forward_mode_pass() -> None:
    """In float64, on rows with padding, which the passes over single rows leave out."""
    student, teacher = networks(torch.float64)
    batch = padded(batches()[0])
    made = TrainableModel(student, lr=1e-3, length=9, training=Training(), device=torch.device("cpu"))
    t = teacher(**batch.inputs).logits.detach()
    torch.manual_seed(0)
    v = {name: torch.randn_like(p) for name, p in made.named_params().items()}
    with made.mode(False):
        exact = sample_weights(t, *jvp(made, v, batch))
    torch.testing.assert_close(by_rows(made, batch, t, v), exact)
