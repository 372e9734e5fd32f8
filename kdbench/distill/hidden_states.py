"""First-token hidden states of teacher and student: which layers to compare, and how to read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from kdbench.core.formatting import count
from kdbench.core.lazy_torch import torch
from kdbench.distill.losses import hidden_state_distance
from kdbench.models.reference import Shape, is_causal

if TYPE_CHECKING:
    from torch import Tensor

LayerMap = Literal["skip", "last"]


def layer_pairs(kind: LayerMap, teacher_layers: int, student_layers: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the layers to compare (1-based), teacher's and student's: all of the student's but the last (PKD).

    `skip` takes every k-th layer of the teacher, `last` those just below its last. For 12 and 6 layers these are
    2, 4, 6, 8, 10 and 7, ..., 11.
    """
    own = tuple(range(1, student_layers))
    if kind == "last":
        return tuple(teacher_layers - student_layers + i for i in own), own
    stride = teacher_layers // student_layers
    return tuple(stride * i for i in own), own


def layer_mismatch(student: Shape, teacher: Shape, instead: str) -> str:
    """Return why the hidden states of two networks cannot be compared, as one sentence; "" when they can.

    Args:
        instead: setting with which networks of different hidden sizes fit, as `--set` takes it.
    """
    if causal := next((shape for shape in (student, teacher) if is_causal(shape.kind)), None):
        return (
            f"it compares the states of first tokens, and in {causal.name} ({causal.kind}) the first token sees no "
            "text; choose a network whose tokens see each other, such as a BERT."
        )
    if student.layers < 2:
        return "it compares intermediate layers, and a network of one layer has none; give it two or more."
    if teacher.layers < student.layers:
        return (
            f"it has {count(student.layers, 'layer')} and {teacher.name} {teacher.layers}; choose a teacher at least "
            f"as deep as its student."
        )
    if teacher.hidden != student.hidden:
        return (
            f"its hidden size is {student.hidden} and that of {teacher.name} {teacher.hidden}; choose equal sizes, or "
            f"give --set {instead}."
        )
    return ""


@dataclass(frozen=True)
class FeatureView:
    """Features of a network for a loss: its logits and the first token's state of M layers (1-based).

    They are one tensor [B, C + M H], so that one derivative covers them all.
    """

    layers: tuple[int, ...] = ()

    @property
    def output_flags(self) -> dict[str, bool]:
        """Return the arguments of `TrainableModel.outputs` that this view needs."""
        return {"output_hidden_states": True, "first_tokens": True} if self.layers else {}

    def __call__(self, outputs: Any) -> Tensor:
        """Return the features [B, C + M H] of a network's output, at least float32."""
        parts = [outputs.logits, *(outputs.hidden_states[layer][:, 0] for layer in self.layers)]
        kind = torch.promote_types(outputs.logits.dtype, torch.float32)
        return torch.cat([part.to(kind) for part in parts], dim=1)

    def split(self, features: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        """Split the features of M > 0 layers into logits [B, C] and states [B, M, H]."""
        return features[:, :classes], features[:, classes:].reshape(len(features), len(self.layers), -1)

    def distance(self, teacher: Tensor, student: Tensor, classes: int) -> Tensor:
        """Compute PKD's distance of the states in two features [B, C + M H]; 0 where they hold logits alone."""
        if not self.layers:
            return student.new_zeros(())
        return hidden_state_distance(self.split(teacher, classes)[1], self.split(student, classes)[1])


def feature_views(kind: LayerMap, teacher: Any, student: Any) -> tuple[FeatureView, FeatureView]:
    """Return the teacher's and the student's view of the layers that `layer_pairs` compares.

    Args:
        teacher, student: the networks' configurations.
    """
    theirs, own = layer_pairs(kind, teacher.num_hidden_layers, student.num_hidden_layers)
    return FeatureView(theirs), FeatureView(own)
