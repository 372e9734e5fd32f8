"""KD: match the fine-tuned teacher's softened probabilities (Hinton et al., 2015)."""

from __future__ import annotations

from torch import Tensor

from kdbench.data.batches import Batch
from kdbench.losses import cross_entropy, kl
from kdbench.method import Distillation
from kdbench.options import Options, option


class KDOptions(Options):
    ce_weight: float = option(0.6, "weight of the cross-entropy with the labels", source="LGTM Eq. 1, Table 5", ge=0)
    kd_weight: float = option(0.4, "weight of the distillation term", source="LGTM Eq. 1, Table 5", ge=0)
    temperature: float = option(1.0, "softens both sides", source="LGTM Table 5", gt=0)
    t2: bool = option(True, "multiply the distillation term by the squared temperature", source="Hinton et al., 2015")


class KD(Distillation):
    """A frozen, fine-tuned teacher; one loss for the student."""

    title = "KD"
    paper = "Hinton et al., 2015"
    position = 1
    options_type = KDOptions
    options: KDOptions

    def loss(self, batch: Batch) -> Tensor:
        o, s, t = self.options, self.student.logits(batch), self.teacher.logits(batch)
        scale = o.temperature**2 if o.t2 else 1.0
        # LGTM Eq. 1; for the student KL(T || S) and CE(T, S) have the same gradient
        return o.ce_weight * cross_entropy(batch.labels, s) + o.kd_weight * scale * kl(t, s, o.temperature)
