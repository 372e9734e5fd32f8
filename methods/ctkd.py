"""CTKD: learn the temperature against the student, with growing force (Li et al., 2023).

Loss: L_S = ce_weight CE(y, S) + kd_weight tau^2 KL(T_tau || S_tau) with tau = tau_start + tau_range sigmoid(theta).
Trained: the student and one number, theta, in one backward pass. theta gets lambda dL/dtheta, lambda <= 0, so tau moves
to where the student is worse: lambda = -1/2 (1 - cos(pi x)), x from 0 to 1 over the first `rise` of the steps, then
-1. The teacher is fine-tuned first, then frozen, without dropout.
Paper and code: they agree; we have the global temperature, whose code is released, not the one of each example. lambda
rises over 10 of 240 epochs in the code, over the same share of the steps here. The code's SGD moves theta at the
student's rate of 0.05; AdamW at a language model's rate would hardly move it, so theta has a rate of its own, and no
weight decay. Weights are the code's, of images. With two classes tau^2 KL rises with tau for any logits, so tau can
only rise to its ceiling, where the loss is nearly the squared difference of logits. tau is logged.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from kdbench.core.lazy_torch import nn, torch
from kdbench.core.options import Options, option
from kdbench.distill.lazy import trainable
from kdbench.distill.losses import cross_entropy, kl
from kdbench.distill.method import NEEDS_CLASSES, Distillation

if TYPE_CHECKING:
    from torch import Tensor

    from kdbench.data.batches import Batch
    from kdbench.distill.context import MethodContext


class CTKDOptions(Options):
    ce_weight: float = option(0.1, "weight of the cross-entropy with the labels", source="CTKD code", ge=0)
    kd_weight: float = option(0.9, "weight of the distillation term", source="CTKD code", ge=0)
    tau_start: float = option(1.0, "lowest temperature", source="CTKD", gt=0)
    tau_range: float = option(20.0, "highest temperature minus the lowest", source="CTKD", gt=0)
    theta: float = option(1.0, "start of theta; with the other defaults a temperature of 15.6", source="CTKD code")
    rise: float = option(0.04, "share of the steps in which lambda goes from 0 to -1", source="CTKD: 10 of 240 epochs",
                         ge=0, le=1)  # fmt: skip
    temperature_lr: float = option(1e-2, "peak learning rate of theta", source="ours; code: SGD, 0.05", gt=0)


class CTKD(Distillation):
    """Match the frozen teacher's probabilities at a temperature that is learned against the student."""

    title = "CTKD"
    version = 1
    paper = "Li et al., 2023"
    group = "logits"
    no_regression = NEEDS_CLASSES
    two_classes = "CTKD's temperature can only rise: the loss becomes the squared difference of logits"
    position = 26
    options_type = CTKDOptions
    options: CTKDOptions
    limits = {"labels_only": {"ce_weight": 1.0, "kd_weight": 0.0}, "teacher_only": {"ce_weight": 0.0}}
    variants = {"ctkd_lgtm": ("CTKD (weights of LGTM Eq. 1)", {"ce_weight": 0.6, "kd_weight": 0.4})}

    def build(self, context: MethodContext) -> None:
        super().build(context)
        module = nn.Module()
        module.theta = nn.Parameter(torch.tensor(self.options.theta))
        self.temperature = context.trainable_model("temperature", module, lr=self.options.temperature_lr)
        self.temperature.optimizer.param_groups[0]["weight_decay"] = 0.0

    def step(self, batch: Batch) -> dict[str, Tensor]:
        steps = self.options.rise * self.context.total_steps
        force = reversal(self.context.step / steps if steps else 1.0)
        tau = self.tau(self.temperature.params[0], force)
        loss = self.objective(batch.labels, self.teacher.logits(batch), self.student.logits(batch), tau)
        trainable.step_together(loss, self.student, self.temperature)
        return {"loss": loss.detach(), "temperature": tau.detach()}

    def tau(self, theta: Tensor, force: float) -> Tensor:
        """Compute the temperature, whose gradient reaches theta multiplied by `force`, which is lambda."""
        tau = self.options.tau_start + self.options.tau_range * theta.sigmoid()
        return tau.detach() + force * (tau - tau.detach())

    def objective(self, labels: Tensor, t: Tensor, s: Tensor, tau: Tensor) -> Tensor:
        """Compute L_S from logits [B, C]."""
        return self.options.ce_weight * cross_entropy(labels, s) + self.options.kd_weight * tau**2 * kl(t, s, tau)


def reversal(progress: float) -> float:
    """Compute lambda at a share of its rise; it stays at -1 beyond the end."""
    return -(1 - math.cos(math.pi * min(progress, 1.0))) / 2
