"""KD: match the fine-tuned teacher's softened probabilities (Hinton et al., 2015).

Loss: L_S = ce_weight CE(y, S) + kd_weight tau^2 KL(T_tau || S_tau), LGTM Eq. 1.
Trained: the student. The teacher is fine-tuned first, then frozen, without dropout.
Paper and code: Hinton's factor tau^2 keeps the size of the gradient; the code of LGTM and ProKT leaves it out, which
makes no difference at tau = 1. LGTM's alpha is the weight of the labels; its released command sets it to 0. We follow
LGTM's Table 5. `kd_loss` replaces KL by one of two other objectives (Table 2), `standardize` is LSKD's. In a
regression, squared differences stand for both terms: tau then cancels, and `kd_loss=dist` does not fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from kdbench.core.options import Options, option
from kdbench.core.spec import RunSpec
from kdbench.distill.losses import OBJECTIVES, Reduction, label_loss, output_distance, standardize
from kdbench.distill.method import Distillation
from kdbench.models.reference import Shape

if TYPE_CHECKING:
    from torch import Tensor

    from kdbench.data.batches import Batch


class KDOptions(Options):
    ce_weight: float = option(0.6, "weight of the cross-entropy with the labels", source="LGTM Eq. 1, Table 5", ge=0)
    kd_weight: float = option(0.4, "weight of the distillation term", source="LGTM Eq. 1, Table 5", ge=0)
    temperature: float = option(1.0, "divides the logits of both networks in KL", source="LGTM Table 5", gt=0)
    t2: bool = option(True, "multiply KL by the squared temperature", source="Hinton et al., 2015")
    reduction: Reduction = option(
        "batchmean",
        "KL as a mean over the batch, or over batch and classes",
        source="LGTM code; elementmean: PKD, TAKD",
    )
    kd_loss: Literal["kl", "dist", "mse"] = option("kl", "the distillation objective", source="LGTM Eq. 1, Table 2")
    standardize: bool = option(
        False, "z-score the logits of both networks in the distillation term", source="LSKD", later=True
    )


class KD(Distillation):
    """Match the softened probabilities of a frozen, fine-tuned teacher."""

    title = "KD"
    version = 1
    paper = "Hinton et al., 2015"
    group = "paper"
    position = 1
    options_type = KDOptions
    options: KDOptions
    limits = {"labels_only": {"ce_weight": 1.0, "kd_weight": 0.0}, "teacher_only": {"ce_weight": 0.0}}
    no_regression = ""
    class_options = {"kd_loss": ("dist",)}

    @classmethod
    def check_compatible(cls, spec: RunSpec, student: Shape, others: Mapping[str, Shape], classes: int) -> str:
        return standardize_problem(spec, classes)

    def loss(self, batch: Batch) -> Tensor:
        return self.objective(batch.labels, self.teacher.logits(batch), self.student.logits(batch))

    def objective(self, labels: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """Compute LGTM Eq. 1 from logits [B, C]; for the student KL(T || S) and CE(T, S) have the same gradient."""
        o, raw = self.options, s
        if o.standardize:
            t, s = standardize(t), standardize(s)
        if o.kd_loss == "kl":
            distance = (o.temperature**2 if o.t2 else 1.0) * output_distance(t, s, o.temperature, o.reduction)
        else:
            distance = OBJECTIVES[o.kd_loss](t, s)
        return o.ce_weight * label_loss(labels, raw) + o.kd_weight * distance


def standardize_problem(spec: RunSpec, classes: int) -> str:
    """Return why logits cannot be standardised, as `check_compatible` does; "" where they can or are not."""
    if classes <= 2 and spec.options.get("standardize"):
        return "standardised logits of two classes are the same for every example, so nothing would be distilled."
    return ""
