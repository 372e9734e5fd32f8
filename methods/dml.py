"""DML: teacher and student learn together, each from the labels and from the other (Zhang et al., 2018).

Loss: for either network k with peer l: L_k = ce_weight CE(y, Z_k) + kd_weight KL(P_l || P_k), the peer's side detached.
Trained: both networks at once, from pre-trained weights: the teacher updates first, the student then learns from the
updated teacher (Algorithm 1), or both at once (`order`).
Paper and code: the TensorFlow code adds 1e-8 inside its logarithm (`kl_eps`) and draws another batch for each network,
which is not followed. LGTM writes the teacher's term as CE(T, S) with alpha = 0.6 (variant `dml_lgtm` has its weights);
we follow the original. A network that is only the other's target is in eval mode, as in the code of LGTM and ProKT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from kdbench.core.options import option
from kdbench.distill.losses import cross_entropy, kl
from kdbench.distill.method import Online, OnlineOptions

if TYPE_CHECKING:
    from torch import Tensor

    from kdbench.data.batches import Batch


class DMLOptions(OnlineOptions):
    ce_weight: float = option(1.0, "weight of the cross-entropy with the labels, both networks", source="DML", ge=0)
    kd_weight: float = option(1.0, "weight of the divergence from the peer, both networks", source="DML", ge=0)
    order: Literal["sequential", "simultaneous"] = option(
        "sequential", "teacher first and the student from the updated teacher, or both at once", source="DML, Alg. 1"
    )
    peer_mode: Literal["eval", "train"] = option(
        "eval", "dropout of a network while it is only the other's target", source="LGTM and ProKT code"
    )
    kl_eps: float = option(0.0, "added to probabilities in the divergence", source="DML; code: 1e-8", ge=0)
    zero_heads: bool = option(
        False, "the student's classifier, and that of a pre-trained teacher, start at zero", source="DML"
    )


class DML(Online):
    """Two pre-trained networks, neither fine-tuned before; the larger one is called the teacher."""

    title = "DML"
    paper = "Zhang et al., 2018"
    position = 7
    options_type = DMLOptions
    options: DMLOptions
    variants = {"dml_lgtm": ("DML (weights of LGTM Eq. 3)", {"ce_weight": 0.6, "kd_weight": 0.4})}
    limits = {"labels_only": {"ce_weight": 1.0, "kd_weight": 0.0}, "teacher_only": {"ce_weight": 0.0}}

    def step(self, batch: Batch) -> dict[str, Tensor]:
        noisy = self.options.peer_mode == "train"
        student_target = self.student.target_logits(batch, train=noisy)
        simultaneous = self.options.order == "simultaneous"
        teacher_target = self.teacher.target_logits(batch, train=noisy) if simultaneous else None
        teacher_loss = self._peer_loss(batch, self.teacher.logits(batch), student_target)
        self.teacher.step(teacher_loss)
        if teacher_target is None:
            teacher_target = self.teacher.target_logits(batch, train=noisy)
        loss = self._peer_loss(batch, self.student.logits(batch), teacher_target)
        self.student.step(loss)
        return {"loss": loss, "teacher_loss": teacher_loss}

    def _peer_loss(self, batch: Batch, own: Tensor, peer: Tensor) -> Tensor:
        """CE(y, z_k) + KL(p_peer || p_k); with two networks the mean over peers is the one peer."""
        o = self.options
        return o.ce_weight * cross_entropy(batch.labels, own) + o.kd_weight * self._divergence(peer, own)

    def _divergence(self, peer: Tensor, own: Tensor) -> Tensor:
        eps = self.options.kl_eps
        if not eps:
            return kl(peer, own)
        p, q = peer.softmax(1), own.softmax(1)
        return (p * (eps + p / (q + eps)).log()).sum(1).mean()
