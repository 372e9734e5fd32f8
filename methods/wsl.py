"""WSL: distil less where the student already fits the label better than the teacher (Zhou et al., 2021).

Loss: L_S = ce_weight CE(y, S) + kd_weight tau^2 mean w CE(T_tau, S_tau) with w = 1 - exp(-CE(y, S) / (CE(y, T) + 1e-7))
of each example, computed at temperature 1 and detached.
Trained: the student. The teacher is fine-tuned first, then frozen, without dropout.
Paper and code: they agree. The released code lets the teacher's batch normalisation learn and has 1000 classes written
into it; we follow neither. The published values are of images, tau = 2 and weight 2.5 for ImageNet. w is nearly a
switch: about 0 where the teacher is wrong, about 1 where the teacher is right and sure, as on most training rows; its
mean is logged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench.core.lazy_torch import functional
from kdbench.core.options import Options, option
from kdbench.distill.losses import cross_entropy, soft_cross_entropy_each
from kdbench.distill.method import NEEDS_CLASSES, Distillation

if TYPE_CHECKING:
    from torch import Tensor

    from kdbench.data.batches import Batch

EPS = 1e-7  # of the authors' code: keeps the ratio finite where the teacher's cross-entropy is 0


class WSLOptions(Options):
    ce_weight: float = option(1.0, "weight of the cross-entropy with the labels", source="WSL", ge=0)
    kd_weight: float = option(2.5, "weight of the distillation term", source="WSL, ImageNet", ge=0)
    temperature: float = option(2.0, "divides the logits of both networks", source="WSL, ImageNet", gt=0)


class WSL(Distillation):
    """Match the frozen teacher's probabilities, with a weight for each example."""

    title = "WSL"
    version = 1
    paper = "Zhou et al., 2021"
    group = "logits"
    no_regression = NEEDS_CLASSES
    position = 25
    options_type = WSLOptions
    options: WSLOptions
    limits = {"labels_only": {"ce_weight": 1.0, "kd_weight": 0.0}}
    variants = {"wsl_lgtm": ("WSL (weights of LGTM Eq. 1)", {"ce_weight": 0.6, "kd_weight": 0.4, "temperature": 1.0})}

    def step(self, batch: Batch) -> dict[str, Tensor]:
        s = self.student.logits(batch)
        distance, weight = self.distance(batch.labels, self.teacher.logits(batch), s)
        loss = self.options.ce_weight * cross_entropy(batch.labels, s) + self.options.kd_weight * distance
        self.student.step(loss)
        return {"loss": loss.detach(), "soft_label_weight": weight.mean()}

    def distance(self, labels: Tensor, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the distillation term without its weight from logits [B, C], and w [B]."""
        tau = self.options.temperature
        of_student, of_teacher = (functional.cross_entropy(z.detach(), labels, reduction="none") for z in (s, t))
        weight = 1 - (-of_student / (of_teacher + EPS)).exp()
        return tau**2 * (weight * soft_cross_entropy_each(t / tau, s / tau)).mean(), weight
