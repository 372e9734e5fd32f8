"""SKD: match the directions of logits on a sphere, not their lengths, which express confidence (Guo et al., 2022).

Loss: L_S = ce_weight CE(y, s~) + kd_weight tau^2 KL(t~_tau || s~_tau) with z~ = radius z / |z|.
Trained: the student. The teacher is fine-tuned first, then frozen, without dropout.
Paper and code: the paper normalises by the length of the logits, its code by their standard deviation (`std`) or by a
LayerNorm (`layernorm`). Softmax ignores a common shift, so two centred and normalised logits carry only a sign: with
two classes both forms of the code have no gradient, neither from the teacher nor from the labels. We follow the paper,
whose sphere is not centred and works with two classes, and refuse the code's forms there unless the labels see raw
logits. The validation loss that a run records is that of raw logits for every method; SKD leaves their length free, so
it says nothing about SKD.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from kdbench.core.lazy_torch import functional
from kdbench.core.options import Options, option
from kdbench.core.spec import RunSpec
from kdbench.distill.losses import cross_entropy, kl
from kdbench.distill.method import Distillation
from kdbench.models.reference import Shape

if TYPE_CHECKING:
    from torch import Tensor

    from kdbench.data.batches import Batch

LAYERNORM_EPS = 1e-7  # of the authors' code


class SKDOptions(Options):
    ce_weight: float = option(
        0.6, "weight of the cross-entropy with the labels", source="LGTM Table 5; SKD code: 0.1", ge=0
    )
    kd_weight: float = option(0.4, "weight of the distillation term", source="LGTM Table 5; SKD code: 0.9", ge=0)
    temperature: float = option(1.0, "divides the logits of both networks", source="LGTM Table 5; SKD code: 4", gt=0)
    norm: Literal["l2", "std", "layernorm"] = option(
        "l2", "normalise logits by their length, their standard deviation, or a LayerNorm", source="SKD; code: others"
    )
    radius: Literal["batch_mean_teacher"] | Annotated[float, Field(gt=0)] = option(
        "batch_mean_teacher", "radius for norm=l2: the teacher's mean length in the batch, or a number", source="SKD"
    )
    multiplier: float = option(2.0, "factor of the logits for norm=layernorm", source="SKD README", gt=0)
    ce_on: Literal["normalized", "raw"] = option("normalized", "logits in the loss with the labels", source="SKD")
    eps: float = option(
        1e-3, "smallest divisor of logits, to bound the gradient near zero", source="ours; code: none", gt=0
    )


class SKD(Distillation):
    """Match the frozen teacher's probabilities after scaling all logits to one length."""

    title = "SKD"
    version = 1
    paper = "Guo et al., 2022"
    group = "paper"
    position = 3
    no_regression = (
        "it compares the directions of logits, and of a regression's one output the direction is only a sign"
    )
    options_type = SKDOptions
    options: SKDOptions
    limits = {
        "labels_only": {"ce_weight": 1.0, "kd_weight": 0.0, "ce_on": "raw"},
        "teacher_only": {"ce_weight": 0.0},
    }

    @classmethod
    def check_compatible(cls, spec: RunSpec, student: Shape, others: Mapping[str, Shape], classes: int) -> str:
        o = spec.options
        if classes == 2 and o["norm"] != "l2" and o["ce_on"] == "normalized":
            return (
                f"norm={o['norm']} turns two logits into a sign, so nothing has a gradient; "
                f"give --set {spec.method}.norm=l2, or --set {spec.method}.ce_on=raw to learn from the labels alone."
            )
        return ""

    def loss(self, batch: Batch) -> Tensor:
        o, raw = self.options, self.student.logits(batch)
        t, s = self._on_sphere(self.teacher.logits(batch), raw)
        labels = cross_entropy(batch.labels, s if o.ce_on == "normalized" else raw)
        return o.ce_weight * labels + o.kd_weight * o.temperature**2 * kl(t, s, o.temperature)

    def _on_sphere(self, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """Normalise the teacher's and the student's logits [B, C]."""
        o = self.options
        if o.norm == "std":  # the teacher keeps its own spread
            return t, s * t.std(1, keepdim=True) / s.std(1, keepdim=True).clamp_min(o.eps)
        if o.norm == "layernorm":
            t, s = (o.multiplier * functional.layer_norm(z, z.shape[1:], eps=LAYERNORM_EPS) for z in (t, s))
            return t, s
        lengths = [z.norm(dim=1, keepdim=True).clamp_min(o.eps) for z in (t, s)]
        radius = t.norm(dim=1).mean() if o.radius == "batch_mean_teacher" else o.radius
        return radius * t / lengths[0], radius * s / lengths[1]
