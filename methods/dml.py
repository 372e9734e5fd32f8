"""DML: teacher and student learn together, each from the labels and from the other (Zhang et al., 2018)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from kdbench.data.batches import Batch
from kdbench.losses import cross_entropy, kl
from kdbench.method import Method
from kdbench.options import Options, option
from kdbench.training.lab import Lab


class DMLOptions(Options):
    ce_weight: float = option(1.0, "weight of the cross-entropy with the labels, both networks", source="DML", ge=0)
    kd_weight: float = option(1.0, "weight of the divergence from the peer, both networks", source="DML", ge=0)
    order: Literal["sequential", "simultaneous"] = option(
        "sequential", "teacher first and the student from the updated teacher, or both at once", source="DML, Alg. 1"
    )
    peer_mode: Literal["eval", "train"] = option(
        "eval", "dropout of a network while it is only the other's target", source="LGTM and ProKT code"
    )


class DML(Method):
    """Two pre-trained networks, neither fine-tuned before; the larger one is called the teacher."""

    title = "DML"
    paper = "Zhang et al., 2018"
    position = 7
    uses = frozenset({"teacher", "teacher_lr"})
    options_type = DMLOptions
    options: DMLOptions
    variants = {"dml_lgtm": ("DML (weights of LGTM Eq. 3)", {"ce_weight": 0.6, "kd_weight": 0.4})}

    def build(self, lab: Lab) -> None:
        super().build(lab)
        self.teacher = lab.learner("teacher", self.spec.teacher, lr=self.spec.training.teacher_lr)

    def step(self, batch: Batch) -> dict[str, Tensor]:
        noisy = self.options.peer_mode == "train"
        student_target = self.student.target(batch, train=noisy)
        simultaneous = self.options.order == "simultaneous"
        teacher_target = self.teacher.target(batch, train=noisy) if simultaneous else None
        teacher_loss = self._peer_loss(batch, self.teacher.logits(batch), student_target)
        self.teacher.step(teacher_loss)
        if teacher_target is None:
            teacher_target = self.teacher.target(batch, train=noisy)
        loss = self._peer_loss(batch, self.student.logits(batch), teacher_target)
        self.student.step(loss)
        return {"loss": loss, "teacher_loss": teacher_loss}

    def _peer_loss(self, batch: Batch, own: Tensor, peer: Tensor) -> Tensor:
        """CE(y, z_k) + KL(p_peer || p_k); with two networks the mean over peers is the one peer."""
        o = self.options
        return o.ce_weight * cross_entropy(batch.labels, own) + o.kd_weight * kl(peer, own)
