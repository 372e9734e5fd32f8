"""RCO: learn in turn from checkpoints along the teacher's fine-tuning (Jin et al., 2019).

Loss: of KD, with the teacher's checkpoint C_i: L = ce_weight CE(y, S) + kd_weight tau^2 KL(C_i,tau || S_tau).
Trained: the teacher is fine-tuned and saved at equal shares of its training (anchors). The student learns from each
anchor in turn and keeps its weights in between. The last anchor is the teacher's best checkpoint.
Paper and code: no official code is known. The paper spaces anchors evenly or picks them by a measure of hardness; we
take three evenly spaced ones and divide the student's epochs equally among them. One learning-rate schedule spans the
whole training; `restart_schedule` restarts it at every anchor, another reading of the paper. Weights and temperature
are LGTM's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench.core.options import option
from kdbench.core.spec import RunSpec
from kdbench.distill.method import finetuned
from kdbench.methods.kd import KD, KDOptions

if TYPE_CHECKING:
    from torch import Tensor

    from kdbench.data.batches import Batch
    from kdbench.distill.context import MethodContext


class RCOOptions(KDOptions):
    anchors: int = option(
        3, "number of teacher checkpoints to learn from, including the final one", source="ours", ge=1, le=20
    )
    restart_schedule: bool = option(False, "restart the learning-rate schedule at every anchor", source="RCO, stages")


class RCO(KD):
    """Match the softened probabilities of the teacher's checkpoints, one after the other."""

    title = "RCO"
    version = 1
    paper = "Jin et al., 2019"
    group = "paper"
    position = 6
    requires = frozenset({"teacher_network"})
    options_type = RCOOptions
    options: RCOOptions

    @classmethod
    def needs(cls, spec: RunSpec) -> dict[str, RunSpec]:
        count = spec.options["anchors"]
        return {"teacher": finetuned(spec, snapshots=tuple(i / count for i in range(1, count)))}

    def build(self, context: MethodContext) -> None:
        self.student = context.trainable_model("student", self.spec.student, lr=self.spec.training.student_lr)
        self._load_anchor(0)

    def loss(self, batch: Batch) -> Tensor:
        anchor = self._anchor_of(self.context.step)
        if anchor != self.anchor:
            self._load_anchor(anchor)
        is_first = self.context.step == 0 or anchor != self._anchor_of(self.context.step - 1)
        if self.options.restart_schedule and is_first:
            length = sum(self._anchor_of(step) == anchor for step in range(self.context.total_steps))
            self.student.restart_schedule(length)
        return super().loss(batch)

    def _anchor_of(self, step: int) -> int:
        return step * self.options.anchors // self.context.total_steps

    def _load_anchor(self, anchor: int) -> None:
        """Load a checkpoint of the teacher in place of the one before."""
        self.anchor, count = anchor, self.options.anchors
        self.teacher = self.context.frozen_teacher("teacher", None if anchor == count - 1 else (anchor + 1) / count)
