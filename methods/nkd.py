"""NKD: a cross-entropy weighted by the teacher's confidence, and the ranking of the other classes (Yang et al., 2023).

Loss: L_S = ce_weight CE(y, S) - target_weight mean T_y log S_y - gamma tau^2 mean sum_{c != y} T^_c log S^_c; T^ and S^
are softmaxes over the classes other than y at tau, T_y and S_y are at temperature 1.
Trained: the student. The teacher is fine-tuned first, then frozen, without dropout.
Paper and code: they agree. Both terms are cross-entropies, so neither is 0 where student and teacher agree; the term of
the label has no fixed point at the teacher and drives S_y to 1. The published weights are of images, gamma = 1.5 and
tau = 1 for ImageNet, which we take, gamma = 3.5 and tau = 3 for CIFAR-100. With two classes the last term is 0: what is
left is the cross-entropy with each example weighted by 1 + T_y, without soft labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench.core.options import Options, option
from kdbench.distill.losses import cross_entropy, drop_label, soft_cross_entropy
from kdbench.distill.method import NEEDS_CLASSES, Distillation

if TYPE_CHECKING:
    from torch import Tensor

    from kdbench.data.batches import Batch


class NKDOptions(Options):
    ce_weight: float = option(1.0, "weight of the cross-entropy with the labels", source="NKD", ge=0)
    target_weight: float = option(1.0, "weight of the label's term, -T_y log S_y", source="NKD", ge=0)
    gamma: float = option(1.5, "weight of the ranking of the other classes", source="NKD, ImageNet; CIFAR: 3.5", ge=0)
    temperature: float = option(
        1.0, "divides the logits in the ranking of the other classes", source="NKD, ImageNet; CIFAR: 3", gt=0
    )


class NKD(Distillation):
    """Weigh the labels by the frozen teacher's confidence, and match its ranking of the other classes."""

    title = "NKD"
    version = 1
    paper = "Yang et al., 2023"
    group = "logits"
    no_regression = NEEDS_CLASSES
    two_classes = "NKD has no soft label left: it is the cross-entropy with each example weighted by 1 + T_y"
    position = 22
    options_type = NKDOptions
    options: NKDOptions
    limits = {"labels_only": {"ce_weight": 1.0, "target_weight": 0.0, "gamma": 0.0}}
    variants = {
        "nkd_lgtm": ("NKD (weights of LGTM Eq. 1)", {"ce_weight": 0.6, "target_weight": 0.4, "gamma": 0.6}),
        "nkd_cifar": ("NKD (weights of CIFAR-100)", {"gamma": 3.5, "temperature": 3.0}),
    }

    def loss(self, batch: Batch) -> Tensor:
        labels, s = batch.labels, self.student.logits(batch)
        return self.options.ce_weight * cross_entropy(labels, s) + self.distance(labels, self.teacher.logits(batch), s)

    def distance(self, labels: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """Compute the two distillation terms with their weights from logits [B, C]."""
        o, y = self.options, labels[:, None]
        target = -(t.softmax(1).gather(1, y).detach() * s.log_softmax(1).gather(1, y)).mean()
        t, s = (drop_label(z / o.temperature, labels) for z in (t, s))
        return o.target_weight * target + o.gamma * o.temperature**2 * soft_cross_entropy(t, s)
