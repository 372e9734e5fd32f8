"""LGTM as its authors' code does it, rendered directly.

Every step: one forward pass of both networks for the look-ahead and the auxiliary loss; a deep copy of the student and
of its AdamW makes the look-ahead step and is differentiated on feedback; the influence by finite difference, for which
the student's weights are moved there and back and the teacher is run twice, forward and backward; then the updates.
In all 4 forward and 3 backward passes of the teacher, 5 and 3 of the student.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.contestants import bilevel
from benchmarks.work import How, Timing, Work, network
from kdbench.data.batches import Batch
from kdbench.distill.trainable import zero_head

RADIUS = 1e-2  # of the finite difference, in units of 1 / |v|
TEACHER_KD = 0.4  # weight of KL(S || T) in the teacher's loss; the rest is the labels'


def kl(target: Tensor, logits: Tensor) -> Tensor:
    """KL(target || logits), mean over the batch; no gradient to the target."""
    p, q = target.detach().log_softmax(-1), logits.log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1).mean()


class Released(bilevel.Bilevel):
    """Its student sees no labels; the influence's coefficient is the teacher's rate."""

    def teacher_gradient(self, batch: Batch, held: Batch) -> list[Tensor]:
        """Return the gradient of the auxiliary loss, less the teacher's rate times the influence's."""
        self.teacher.train()
        self.student.train()
        t, s = (network(**batch.inputs).logits for network in (self.teacher, self.student))
        auxiliary = torch.autograd.grad(self._teacher_loss(batch, t, s), list(self.teacher.parameters()))
        v = self.direction(self.student_loss(batch, t, s), held)
        rate = self.teacher_optimizer.param_groups[0]["lr"]
        return [a - rate * i for a, i in zip(auxiliary, self.influence_gradient(batch, v), strict=True)]

    def direction(self, loss: Tensor, feedback: Batch) -> list[Tensor]:
        """v: the gradient on feedback after the step that AdamW would take along `loss`."""
        slopes = torch.autograd.grad(loss, list(self.student.parameters()))
        ahead = copy.deepcopy(self.student)
        optimizer = type(self.student_optimizer)(ahead.parameters())
        optimizer.load_state_dict(copy.deepcopy(self.student_optimizer.state_dict()))
        for parameter, slope in zip(ahead.parameters(), slopes, strict=True):
            parameter.grad = slope
        optimizer.step()
        quiz = functional.cross_entropy(ahead(**feedback.inputs).logits, feedback.labels)
        return list(torch.autograd.grad(quiz, list(ahead.parameters())))

    def influence_gradient(self, batch: Batch, v: Sequence[Tensor]) -> list[Tensor]:
        """d/d theta_t of d/d eps L_t(theta_t, theta_s + eps v), by a central difference."""
        self.teacher.eval()
        self.student.eval()
        radius = float(RADIUS / torch.cat([x.flatten() for x in v]).norm())
        ahead = self._displaced(batch, v, radius)
        behind = self._displaced(batch, v, -2 * radius)
        self._move(v, radius)
        return [(a - b) / (2 * radius) for a, b in zip(ahead, behind, strict=True)]

    def _displaced(self, batch: Batch, v: Sequence[Tensor], distance: float) -> tuple[Tensor, ...]:
        """Compute the gradient of the teacher's loss after the student has been moved."""
        self._move(v, distance)
        t, s = (network(**batch.inputs).logits for network in (self.teacher, self.student))
        return torch.autograd.grad(self._teacher_loss(batch, t, s), list(self.teacher.parameters()))

    @torch.no_grad()
    def _move(self, v: Sequence[Tensor], distance: float) -> None:
        for parameter, slope in zip(self.student.parameters(), v, strict=True):
            parameter.add_(slope, alpha=distance)

    @staticmethod
    def _teacher_loss(batch: Batch, t: Tensor, s: Tensor) -> Tensor:
        return TEACHER_KD * kl(s, t) + (1 - TEACHER_KD) * functional.cross_entropy(t, batch.labels)

    def student_loss(self, batch: Batch, t: Tensor, s: Tensor) -> Tensor:
        return kl(t, s)


def measure(work: Work, how: How) -> Timing:
    student: nn.Module = network(work.student, work, how.attention)
    zero_head(student)
    return bilevel.measure(Released, student, work, how)
