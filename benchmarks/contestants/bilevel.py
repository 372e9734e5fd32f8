"""Implement the two reference methods' common part: a teacher that learns from its student's loss on other data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from benchmarks.contestants.planned import both_streams
from benchmarks.kernels import adamw, linear, product
from benchmarks.stopwatch import Stopwatch
from benchmarks.work import How, Timing, Work, network
from kdbench.data.batches import Batch

Optimizers = tuple[torch.optim.AdamW, torch.optim.AdamW]


class Bilevel:
    """Both networks with their optimisers.

    Args:
        optimizers: of the student and of the teacher.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module, optimizers: Optimizers) -> None:
        self.student, self.teacher = student, teacher
        self.student_optimizer, self.teacher_optimizer = optimizers

    def step(self, batch: Batch, held: Batch) -> Tensor:
        """One update of the teacher, then one of the student; returns the student's loss."""
        for parameter, gradient in zip(self.teacher.parameters(), self.teacher_gradient(batch, held), strict=True):
            parameter.grad = gradient
        self.teacher_optimizer.step()
        self.teacher_optimizer.zero_grad()
        self.teacher.eval()
        self.student.train()
        with torch.no_grad():
            t = self.teacher(**batch.inputs).logits
        loss = self.student_loss(batch, t, self.student(**batch.inputs).logits)
        loss.backward()  # type: ignore[no-untyped-call]
        self.student_optimizer.step()
        self.student_optimizer.zero_grad()
        return loss.detach()

    def teacher_gradient(self, batch: Batch, held: Batch) -> Sequence[Tensor]:
        """Return the direction in which the teacher is updated, in the order of its parameters.

        Args:
            held: feedback, or the held-out batch.
        """
        raise NotImplementedError

    def student_loss(self, batch: Batch, t: Tensor, s: Tensor) -> Tensor:
        raise NotImplementedError


def measure(kind: type[Bilevel], student: nn.Module, work: Work, how: How) -> Timing:
    """Time the method's steps on the batches that kdbench's method has."""
    teacher = network(work.teacher, work, how.attention)
    batches, feedback = both_streams(work, how)
    optimizers = adamw(student.parameters(), how), adamw(teacher.parameters(), how)
    schedules = [linear(optimizer, len(batches)) for optimizer in optimizers]
    method, watch = kind(student, teacher, optimizers), Stopwatch(work.warmup, work.device)
    with product(how, work.device):
        for batch, held in zip(batches, feedback, strict=True):
            method.step(batch, held).item()
            for schedule in schedules:
                schedule.step()
            watch.lap()
    return Timing(watch.seconds(work.steps), work.steps)
