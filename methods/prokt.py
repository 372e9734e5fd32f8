"""ProKT: the teacher steps towards the labels, staying near its student, who follows (Shi et al., 2021).

Loss: L_T = teacher_ce CE(y, T) + (1 - teacher_ce) KL(S || T), the student's side detached, then
L_S = student_ce CE(y, S) + (1 - student_ce) KL(T || S) with the teacher as it is after its update.
Trained: both networks, from pre-trained weights and classifiers of zeros, one update each a batch, the teacher first. A
network that is only a target is in eval mode.
Paper and code: they agree; lambda = 0.4 is 1 - teacher_ce, and the student sees no labels (the released command of LGTM
gives it none either; variant `prokt_lgtm` has LGTM's alpha = 0.6). `dual` is the code's alternative that adapts the
weight of the divergence; the code clips both gradients at 1 (`max_grad_norm`). With the same options and rows this is
LGTM with its influence off, weight for weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kdbench.core.lazy_torch import torch
from kdbench.core.options import option
from kdbench.distill.losses import cross_entropy, kl
from kdbench.distill.method import Online, OnlineOptions

if TYPE_CHECKING:
    from torch import Tensor

    from kdbench.data.batches import Batch
    from kdbench.distill.context import MethodContext


class ProKTOptions(OnlineOptions):
    teacher_ce: float = option(0.6, "1 - lambda: the teacher's weight of the labels", source="ProKT code", ge=0, le=1)
    student_ce: float = option(0.0, "the student's weight of the labels", source="ProKT", ge=0, le=1)
    dual: bool = option(False, "adapt the divergence's weight to a bound instead", source="ProKT code")
    dual_bound: float = option(1.0, "dual: the divergence that is allowed", source="ProKT code", ge=0)
    dual_rate: float = option(1e-3, "dual: the step of the weight", source="ProKT code", gt=0)


class ProKT(Online):
    """A teacher that takes its student along."""

    title = "ProKT"
    paper = "Shi et al., 2021"
    position = 8
    options_type = ProKTOptions
    options: ProKTOptions
    variants = {"prokt_lgtm": ("ProKT (student's alpha of LGTM)", {"student_ce": 0.6})}
    limits = {
        "labels_only": {"student_ce": 1.0, "zero_heads": False},
        "teacher_only": {"student_ce": 0.0, "teacher_ce": 0.0, "zero_heads": False},
    }

    def build(self, context: MethodContext) -> None:
        super().build(context)
        self.dual_weight = torch.zeros((), device=context.device)

    def step(self, batch: Batch) -> dict[str, Tensor]:
        teacher_loss = self.teacher_loss(batch, self.student.target_logits(batch), self.teacher.logits(batch))
        self.teacher.step(teacher_loss)
        loss = self.student_loss(batch, self.teacher.target_logits(batch), self.student.logits(batch))
        self.student.step(loss)
        return {"loss": loss, "teacher_loss": teacher_loss}

    def teacher_loss(self, batch: Batch, s: Tensor, t: Tensor) -> Tensor:
        """The student is the target, so that the fixed point is T = S."""
        if self.options.dual:
            return self._dual_loss(batch, kl(s, t), t)
        weight = self.options.teacher_ce
        return weight * cross_entropy(batch.labels, t) + (1 - weight) * kl(s, t)

    def student_loss(self, batch: Batch, t: Tensor, s: Tensor) -> Tensor:
        weight = self.options.student_ce
        return weight * cross_entropy(batch.labels, s) + (1 - weight) * kl(t, s)

    def _dual_loss(self, batch: Batch, distance: Tensor, t: Tensor) -> Tensor:
        """CE + b (KL - bound) with b <- max(0, b + rate (KL - bound))."""
        excess = distance - self.options.dual_bound
        loss = cross_entropy(batch.labels, t) + self.dual_weight * excess
        self.dual_weight = (self.dual_weight + self.options.dual_rate * excess.detach()).clamp_min(0.0)
        return loss

    def state(self) -> dict[str, Tensor]:
        return {"dual_weight": self.dual_weight}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.dual_weight = state["dual_weight"].to(self.dual_weight.device)
