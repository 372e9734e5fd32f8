"""RCO: follow the route that the teacher took while it was fine-tuned (Jin et al., 2019).

Loss: of KD, with the teacher as it was at an anchor: L = ce_weight CE(y, S) + kd_weight tau^2 KL(C_i,tau || S_tau).
Trained: the teacher is fine-tuned and kept at equal shares of its training; the student learns from each anchor in
turn, going on from its own weights. The last anchor is the finished teacher (its best checkpoint).
Paper and code: no official code is known. The paper spaces anchors evenly or picks them by a measure of hardness; ours
are even, three of them, and the student's epochs are divided equally. One learning-rate schedule spans the whole
training; a reading in stages starts it anew at every anchor (`restart_schedule`). Weights and temperature are LGTM's.
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
        3, "states of the teacher to learn from, the finished one included", source="ours", ge=1, le=20
    )
    restart_schedule: bool = option(
        False, "begin the learning-rate schedule anew at every anchor", source="RCO, stages"
    )


class RCO(KD):
    """KD from the teacher's past states, one after the other."""

    title = "RCO"
    paper = "Jin et al., 2019"
    position = 6
    options_type = RCOOptions
    options: RCOOptions

    @classmethod
    def needs(cls, spec: RunSpec) -> dict[str, RunSpec]:
        count = spec.options["anchors"]
        return {"teacher": finetuned(spec, snapshots=tuple(i / count for i in range(1, count)))}

    def build(self, context: MethodContext) -> None:
        self.student = context.trainable_model("student", self.spec.student, lr=self.spec.training.student_lr)
        self._meet(0)

    def loss(self, batch: Batch) -> Tensor:
        anchor = self._anchor_of(self.context.step)
        if anchor != self.anchor:
            self._meet(anchor)
        is_first = self.context.step == 0 or anchor != self._anchor_of(self.context.step - 1)
        if self.options.restart_schedule and is_first:
            self.student.restart_schedule(self._length(anchor))
        return super().loss(batch)

    def _anchor_of(self, step: int) -> int:
        return step * self.options.anchors // self.context.total_steps

    def _length(self, anchor: int) -> int:
        """How many steps the student spends with an anchor."""
        return sum(self._anchor_of(step) == anchor for step in range(self.context.total_steps))

    def _meet(self, anchor: int) -> None:
        """Load one anchor; the one before is let go."""
        self.anchor, count = anchor, self.options.anchors
        self.teacher = self.context.frozen_teacher("teacher", None if anchor == count - 1 else (anchor + 1) / count)
