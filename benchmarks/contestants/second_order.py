"""Meta Distill with its gradient by second-order differentiation: through the graph of the pilot step."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from benchmarks.contestants import bilevel
from benchmarks.contestants.bare import objective
from benchmarks.work import How, Timing, Work, network
from kdbench.data.batches import Batch

PILOT_RATE = 5e-5


class SecondOrder(bilevel.Bilevel):
    """The look-ahead is an SGD step of the student with its dropout; held-out rows are seen without."""

    def teacher_gradient(self, batch: Batch, held: Batch) -> tuple[Tensor, ...]:
        """d CE(y^q, S(x^q; theta')) / d theta_t."""
        self.student.train()
        self.teacher.eval()
        params = dict(self.student.named_parameters())
        t = self.teacher(**batch.inputs).logits
        loss = self.student_loss(batch, t, self.student(**batch.inputs).logits)
        slopes = torch.autograd.grad(loss, list(params.values()), create_graph=True)
        ahead = {name: p - PILOT_RATE * g for (name, p), g in zip(params.items(), slopes, strict=True)}
        self.student.eval()
        quiz = functional.cross_entropy(functional_call(self.student, ahead, (), held.inputs).logits, held.labels)
        return torch.autograd.grad(quiz, list(self.teacher.parameters()))

    def student_loss(self, batch: Batch, t: Tensor, s: Tensor) -> Tensor:
        return objective(batch.labels, t, s)


def measure(work: Work, how: How) -> Timing:
    return bilevel.measure(SecondOrder, network(work.student, work, how.attention), work, how)
