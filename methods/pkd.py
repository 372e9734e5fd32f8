"""PKD: match the teacher's intermediate first-token states besides its probabilities (Sun et al., 2019).

Loss: L_S = ce_weight CE(y, S) + kd_weight tau^2 KL(T_tau || S_tau) + beta mean (h_s/|h_s| - h_t/|h_t|)^2, over all
layers of the student but the last, and all features; h is the state of the first token after the layer, not the pooler.
Trained: the student. The teacher is fine-tuned first, then frozen, without dropout.
Paper and code: the paper sums the squared distance, the code takes its mean. The published values of beta belong to
the mean, which we follow. The code's KL is also a mean over classes (`reduction`), its distance is rounded to half
precision, and its training data are never shuffled; we follow none of this. Weights and temperature are LGTM's. A
student of another hidden size needs `projection`, our extension.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from kdbench.core.lazy_torch import nn
from kdbench.core.options import option
from kdbench.core.spec import RunSpec
from kdbench.distill.hidden_states import LayerMap, feature_views, layer_mismatch
from kdbench.distill.lazy import trainable
from kdbench.distill.losses import hidden_state_distance
from kdbench.methods.kd import KD, KDOptions
from kdbench.models.reference import Shape

if TYPE_CHECKING:
    from torch import Tensor

    from kdbench.data.batches import Batch
    from kdbench.distill.context import MethodContext


class PKDOptions(KDOptions):
    beta: float = option(100.0, "weight of the hidden-state distance", source="PKD: of 10, 100, 500, 1000", ge=0)
    layers: LayerMap = option("skip", "teacher layers that are compared: every k-th, or the last ones", source="PKD")
    normalize: bool = option(True, "scale hidden states to length 1", source="PKD")
    patience_reduction: Literal["mean", "sum"] = option(
        "mean", "hidden-state distance over layers and features: mean (code) or sum (paper)", source="PKD code"
    )
    projection: bool = option(
        False, "learn a linear map between hidden states of different sizes", source="ours, an extension"
    )


class PKD(KD):
    """Match the frozen teacher's probabilities and its intermediate first-token states."""

    title = "PKD"
    version = 1
    paper = "Sun et al., 2019"
    group = "paper"
    position = 2
    requires = frozenset({"teacher_network"})
    options_type = PKDOptions
    options: PKDOptions
    limits = {
        "labels_only": {"ce_weight": 1.0, "kd_weight": 0.0, "beta": 0.0},
        "teacher_only": {"ce_weight": 0.0, "beta": 0.0},
    }

    @classmethod
    def check_compatible(cls, spec: RunSpec, student: Shape, others: Mapping[str, Shape], classes: int) -> str:
        teacher, projection = others["teacher"], f"{spec.method}.projection=true"
        if problem := super().check_compatible(spec, student, others, classes):
            return problem
        if not spec.options["projection"]:
            return layer_mismatch(student, teacher, projection)
        return layer_mismatch(replace(student, hidden=teacher.hidden), teacher, projection)

    def build(self, context: MethodContext) -> None:
        super().build(context)
        teacher: Any = self.teacher.module.config
        student: Any = self.student.module.config
        self.teacher_view, self.student_view = feature_views(self.options.layers, teacher, student)
        self.learners = [self.student]
        if self.options.projection:
            linear = nn.Linear(student.hidden_size, teacher.hidden_size)
            self.projection = context.trainable_model("projection", linear, lr=self.spec.training.student_lr)
            self.learners.append(self.projection)

    def step(self, batch: Batch) -> dict[str, Tensor]:
        loss = self.loss(batch)
        trainable.step_together(loss, *self.learners)
        return {"loss": loss}

    def loss(self, batch: Batch) -> Tensor:
        o, classes = self.options, self.context.num_labels
        t, t_states = self.teacher_view.split(self.teacher.features(batch, self.teacher_view), classes)
        own = self.student_view
        s, s_states = own.split(own(self.student.outputs(batch, **own.output_flags)), classes)
        if o.projection:
            s_states = self.projection.module(s_states)
        distance = hidden_state_distance(t_states, s_states, normalize=o.normalize, reduction=o.patience_reduction)
        return self.objective(batch.labels, t, s) + o.beta * distance
