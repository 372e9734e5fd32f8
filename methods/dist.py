"""DIST: match correlations of predictions instead of the predictions themselves (Huang et al., 2022).

Loss: L_S = ce_weight CE(y, S) + kd_weight tau^2 (beta inter + gamma intra); inter is the mean over examples of
1 - rho(S_i, T_i), intra the mean over classes of 1 - rho(S_:c, T_:c), Pearson correlations of probabilities.
Trained: the student. The teacher is fine-tuned first, then frozen, without dropout.
Paper and code: they agree. With two classes inter is always 0 or 2 and has next to no gradient, so only intra teaches;
a batch of one example has no intra. The code adds epsilon to the product of the norms, which gives an example without
variance (a classifier of zeros) a gradient of the size 1 / epsilon; we add its square to the variances (`eps_place`). A
large epsilon switches intra off where classes are many, because classes that a batch lacks vary less than it. The
default weights are those of DIST, not of LGTM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from kdbench.core.options import Options, option
from kdbench.distill.losses import cross_entropy, dist
from kdbench.distill.method import Distillation

if TYPE_CHECKING:
    from torch import Tensor

    from kdbench.data.batches import Batch


class DISTOptions(Options):
    ce_weight: float = option(1.0, "weight of the cross-entropy with the labels", source="DIST", ge=0)
    kd_weight: float = option(1.0, "weight of the distillation term", source="DIST", ge=0)
    beta: float = option(2.0, "weight of the correlation over the classes of an example", source="DIST", ge=0)
    gamma: float = option(2.0, "weight of the correlation over the examples of a class", source="DIST", ge=0)
    temperature: float = option(1.0, "divides the logits of both networks", source="DIST, LGTM Table 5", gt=0)
    eps: float = option(
        1e-4, "added to the correlation's denominator, to bound the gradient", source="ours; code: 1e-8", gt=0
    )
    eps_place: Literal["inside", "outside"] = option(
        "inside",
        "where eps is added: squared to both variances, or to the product of the norms",
        source="ours; code: outside",
    )


class DIST(Distillation):
    """Match the frozen teacher's predictions by Pearson correlation, within examples and within classes."""

    title = "DIST"
    version = 1
    paper = "Huang et al., 2022"
    group = "paper"
    position = 4
    no_regression = "it correlates probabilities of classes, and the softmax of a regression's one output is always 1"
    options_type = DISTOptions
    options: DISTOptions
    limits = {"labels_only": {"ce_weight": 1.0, "kd_weight": 0.0}, "teacher_only": {"ce_weight": 0.0}}
    variants = {"dist_lgtm": ("DIST (weights of LGTM Eq. 1)", {"ce_weight": 0.6, "kd_weight": 0.4})}

    def loss(self, batch: Batch) -> Tensor:
        o, s, t = self.options, self.student.logits(batch), self.teacher.logits(batch)
        distance = dist(t, s, o.beta, o.gamma, o.temperature, o.eps, o.eps_place == "inside")
        return o.ce_weight * cross_entropy(batch.labels, s) + o.kd_weight * distance
