"""DML: train teacher and student together, each on the labels and on the other's predictions (Zhang et al., 2018).

Loss: for each network k with peer l: L_k = ce_weight CE(y, Z_k) + kd_weight KL(P_l || P_k), the peer's side detached.
Trained: both networks, from pre-trained weights. In each step the teacher is updated first and the student then learns
from the updated teacher (Algorithm 1); `order=simultaneous` updates both from the old weights.
Paper and code: the TensorFlow code adds 1e-8 inside its logarithm (`kl_eps`) and draws a separate batch for each
network, which we do not follow. LGTM writes the teacher's term as CE(T, S) with alpha = 0.6; we follow the original,
and variant `dml_lgtm` has LGTM's weights. A network that serves only as target is in eval mode, as in the code of LGTM
and ProKT. In a regression, squared differences stand for both terms, and `kl_eps` does not fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from kdbench.core.options import option
from kdbench.core.spec import RunSpec
from kdbench.distill.losses import label_loss, output_distance
from kdbench.distill.method import Online, OnlineOptions
from kdbench.models.reference import Shape

if TYPE_CHECKING:
    from torch import Tensor

    from kdbench.data.batches import Batch


class DMLOptions(OnlineOptions):
    ce_weight: float = option(1.0, "weight of the cross-entropy with the labels, both networks", source="DML", ge=0)
    kd_weight: float = option(1.0, "weight of the divergence from the peer, both networks", source="DML", ge=0)
    order: Literal["sequential", "simultaneous"] = option(
        "sequential", "update the teacher first, the student from the updated teacher; or both at once",
        source="DML, Alg. 1",
    )  # fmt: skip
    peer_mode: Literal["eval", "train"] = option(
        "eval", "dropout of a network while it serves as the other's target", source="LGTM and ProKT code"
    )
    kl_eps: float = option(0.0, "added to probabilities in the divergence", source="DML; code: 1e-8", ge=0)
    zero_heads: bool = option(
        False, "start the classifiers of the student and of a pre-trained teacher at zero", source="DML"
    )


class DML(Online):
    """Train two pre-trained networks on the labels and on each other's predictions; the larger is the teacher."""

    title = "DML"
    version = 1
    paper = "Zhang et al., 2018"
    group = "paper"
    position = 7
    options_type = DMLOptions
    options: DMLOptions
    variants = {"dml_lgtm": ("DML (weights of LGTM Eq. 3)", {"ce_weight": 0.6, "kd_weight": 0.4})}
    limits = {"labels_only": {"ce_weight": 1.0, "kd_weight": 0.0}, "teacher_only": {"ce_weight": 0.0}}

    no_regression = ""

    @classmethod
    def check_compatible(cls, spec: RunSpec, student: Shape, others: Mapping[str, Shape], classes: int) -> str:
        smoothed = classes == 1 and spec.options["kl_eps"]
        return "kl_eps is added to probabilities of classes, and a regression has none." if smoothed else ""

    def step(self, batch: Batch) -> dict[str, Tensor]:
        dropout = self.options.peer_mode == "train"
        simultaneous = self.options.order == "simultaneous"
        # the teacher learns from the student's present predictions
        student_target = self.student.target_logits(batch, train=dropout)
        teacher_target = self.teacher.target_logits(batch, train=dropout) if simultaneous else None
        teacher_loss = self._peer_loss(batch, self.teacher.logits(batch), student_target)
        self.teacher.step(teacher_loss)
        # the student learns from the teacher after its update, or before it
        if teacher_target is None:
            teacher_target = self.teacher.target_logits(batch, train=dropout)
        loss = self._peer_loss(batch, self.student.logits(batch), teacher_target)
        self.student.step(loss)
        return {"loss": loss, "teacher_loss": teacher_loss}

    def _peer_loss(self, batch: Batch, own: Tensor, peer: Tensor) -> Tensor:
        """Compute L_k from logits [B, C]; with two networks DML's mean over the peers is the one peer."""
        o = self.options
        if o.kl_eps:  # the divergence as in the code
            p, q = peer.softmax(1), own.softmax(1)
            divergence = (p * (o.kl_eps + p / (q + o.kl_eps)).log()).sum(1).mean()
        else:
            divergence = output_distance(peer, own)
        return o.ce_weight * label_loss(batch.labels, own) + o.kd_weight * divergence
