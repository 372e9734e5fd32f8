"""ProKT: the teacher moves towards the labels in steps that its student can follow (Shi et al., 2021).

Loss: L_T = teacher_ce CE(y, T) + (1 - teacher_ce) KL(S || T), the student's side detached, then
L_S = student_ce CE(y, S) + (1 - student_ce) KL(T || S) with the teacher as it is after its update.
Trained: both networks, from pre-trained weights and classifiers of zeros. Each batch updates the teacher once, then the
student once. A network that serves only as target is in eval mode.
Paper and code: they agree. Their lambda = 0.4 is 1 - teacher_ce, and the student sees no labels, neither here nor in
the released command of LGTM; variant `prokt_lgtm` has LGTM's alpha = 0.6. `dual` is the code's alternative, which
adapts the weight of the divergence. The code clips both gradients at 1 (`max_grad_norm`). With the same options and
rows, LGTM with `influence=none` gives the same weights. In a regression, squared differences stand for both terms.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kdbench.core.lazy_torch import torch
from kdbench.core.options import option
from kdbench.distill.losses import label_loss, output_distance
from kdbench.distill.method import Online, OnlineOptions

if TYPE_CHECKING:
    from torch import Tensor

    from kdbench.data.batches import Batch
    from kdbench.distill.context import MethodContext


class ProKTOptions(OnlineOptions):
    teacher_ce: float = option(0.6, "1 - lambda: weight of the labels in L_T", source="ProKT code", ge=0, le=1)
    student_ce: float = option(0.0, "weight of the labels in L_S", source="ProKT", ge=0, le=1)
    dual: bool = option(False, "adapt the weight of L_T's divergence so that it meets a bound", source="ProKT code")
    dual_bound: float = option(1.0, "bound of the divergence, with dual", source="ProKT code", ge=0)
    dual_rate: float = option(1e-3, "step size of the divergence's weight, with dual", source="ProKT code", gt=0)


class ProKT(Online):
    """Train both networks; the teacher stays near its student by a KL term."""

    title = "ProKT"
    version = 1
    paper = "Shi et al., 2021"
    group = "paper"
    position = 8
    options_type = ProKTOptions
    options: ProKTOptions
    variants = {"prokt_lgtm": ("ProKT with labels", {"student_ce": 0.6})}
    limits = {
        "labels_only": {"student_ce": 1.0, "zero_heads": False},
        "teacher_only": {"student_ce": 0.0, "teacher_ce": 0.0, "zero_heads": False},
    }

    no_regression = ""

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
        """Compute L_T from the logits of both networks; the student is the target, so the fixed point is T = S."""
        if self.options.dual:  # CE + b (KL - bound) with b <- max(0, b + rate (KL - bound))
            excess = output_distance(s, t) - self.options.dual_bound
            loss = label_loss(batch.labels, t) + self.dual_weight * excess
            self.dual_weight = (self.dual_weight + self.options.dual_rate * excess.detach()).clamp_min(0.0)
            return loss
        weight = self.options.teacher_ce
        return weight * label_loss(batch.labels, t) + (1 - weight) * output_distance(s, t)

    def student_loss(self, batch: Batch, t: Tensor, s: Tensor) -> Tensor:
        """Compute L_S from the logits of both networks."""
        weight = self.options.student_ce
        return weight * label_loss(batch.labels, s) + (1 - weight) * output_distance(t, s)

    def state(self) -> dict[str, Tensor]:
        return {"dual_weight": self.dual_weight}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.dual_weight = state["dual_weight"].to(self.dual_weight.device)
