"""DKD: weigh the label's probability and the ranking of the other classes apart (Zhao et al., 2022).

Loss: L_S = ce_weight CE(y, S) + w kd_weight tau^2 (alpha TCKD + beta NCKD), both terms means over the batch,
    TCKD = KL((T_y, 1 - T_y) || (S_y, 1 - S_y))                 how likely the label is
    NCKD = KL(T^ || S^), softmaxes over the classes other than y          how the others are ranked
with all probabilities at tau. For an example KL(T || S) = TCKD + (1 - T_y) NCKD. w rises from 0 to 1 over the first
kd_warmup of the steps.
Trained: the student. The teacher is fine-tuned first, then frozen, without dropout.
Paper and code: they agree. The code removes the label by subtracting 1000 from its logit, and takes the logarithm of a
softmax, which is infinite for sure networks; we drop the label's column and stay in log space. The published weights
are of images, alpha = 1, beta = 8 and tau = 4 for CIFAR-100, beta = 0.5 and tau = 1 for ImageNet, which we take; its
warm-up counts epochs, ours steps. y is the gold label, also where the teacher is wrong. With two classes NCKD is 0 and
DKD is KD with the weight alpha.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kdbench.core.options import Options, option
from kdbench.core.spec import RunSpec
from kdbench.distill.losses import cross_entropy, drop_label, kl, label_or_other, standardize
from kdbench.distill.method import NEEDS_CLASSES, Distillation
from kdbench.methods.kd import standardize_problem
from kdbench.models.reference import Shape

if TYPE_CHECKING:
    from torch import Tensor

    from kdbench.data.batches import Batch


class DKDOptions(Options):
    ce_weight: float = option(1.0, "weight of the cross-entropy with the labels", source="DKD", ge=0)
    kd_weight: float = option(1.0, "weight of both distillation terms", source="DKD", ge=0)
    alpha: float = option(1.0, "weight of the label's probability (TCKD)", source="DKD", ge=0)
    beta: float = option(0.5, "weight of the ranking of the other classes (NCKD)", source="DKD, ImageNet", ge=0)
    temperature: float = option(1.0, "divides the logits of both networks", source="DKD, ImageNet; CIFAR: 4", gt=0)
    kd_warmup: float = option(
        0.1,
        "share of the steps over which the distillation terms gain their weight",
        source="code: 20 epochs",
        ge=0,
        le=1,
    )
    standardize: bool = option(False, "z-score the logits of both networks in the distillation terms", source="LSKD")


class DKD(Distillation):
    """Match the frozen teacher's confidence in the label and its ranking of the other classes."""

    title = "DKD"
    version = 1
    paper = "Zhao et al., 2022"
    group = "logits"
    no_regression = NEEDS_CLASSES
    two_classes = "DKD's second term is 0: it is KD with the weight alpha"
    position = 20
    options_type = DKDOptions
    options: DKDOptions
    limits = {"labels_only": {"ce_weight": 1.0, "kd_weight": 0.0}}
    variants = {
        "dkd_cifar": ("DKD (weights of CIFAR-100)", {"beta": 8.0, "temperature": 4.0}),
        "dkd_lgtm": ("DKD (weights of LGTM Eq. 1)", {"ce_weight": 0.6, "kd_weight": 0.4}),
    }

    @classmethod
    def check_compatible(cls, spec: RunSpec, student: Shape, others: Mapping[str, Shape], classes: int) -> str:
        return standardize_problem(spec, classes)

    def loss(self, batch: Batch) -> Tensor:
        labels, s = batch.labels, self.student.logits(batch)
        steps = self.options.kd_warmup * self.context.total_steps
        rise = min(1.0, (self.context.step + 1) / steps) if steps else 1.0
        distance = self.distance(labels, self.teacher.logits(batch), s)
        return self.options.ce_weight * cross_entropy(labels, s) + rise * self.options.kd_weight * distance

    def distance(self, labels: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """Compute tau^2 (alpha TCKD + beta NCKD) from logits [B, C]."""
        o = self.options
        t, s = ((standardize(z) if o.standardize else z) / o.temperature for z in (t, s))
        tckd = kl(label_or_other(t, labels), label_or_other(s, labels))
        nckd = kl(drop_label(t, labels), drop_label(s, labels))
        return o.temperature**2 * (o.alpha * tckd + o.beta * nckd)
