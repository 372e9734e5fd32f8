"""Hidden states of the first token, and which layer of the teacher goes with which of the student."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from kdbench.core.formatting import count
from kdbench.core.lazy_torch import torch
from kdbench.distill.losses import patience
from kdbench.models.reference import Shape

if TYPE_CHECKING:
    from torch import Tensor

LayerMap = Literal["skip", "last"]


def layer_pairs(kind: LayerMap, teacher_layers: int, student_layers: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The layers to compare (1-based), teacher's and student's: all of the student's but the last (PKD).

    `skip` takes every k-th layer of the teacher, `last` those just below its last: 12 to 6 gives 2, 4, 6, 8, 10 or
    7, ..., 11.
    """
    own = tuple(range(1, student_layers))
    if kind == "last":
        return tuple(teacher_layers - student_layers + i for i in own), own
    stride = teacher_layers // student_layers
    return tuple(stride * i for i in own), own


def mismatch(student: Shape, teacher: Shape) -> str:
    """Why the hidden states of two networks cannot be compared, as one sentence; "" when they can."""
    if student.layers < 2:
        return "it compares intermediate layers, and a network of one layer has none; give it two or more."
    if teacher.layers < student.layers:
        return f"it needs a teacher at least as deep, and {teacher.name} has {count(teacher.layers, 'layer')}."
    if teacher.hidden != student.hidden:
        return f"its hidden size is {student.hidden} and that of {teacher.name} {teacher.hidden}; choose equal sizes."
    return ""


@dataclass(frozen=True)
class FeatureView:
    """What a loss reads off a network: its logits and, of some layers (1-based), the state of the first token.

    One tensor [B, C + M H], so that it can be differentiated as one.
    """

    layers: tuple[int, ...] = ()

    @property
    def asks(self) -> dict[str, bool]:
        """What `TrainableModel.outputs` must be asked for."""
        return {"output_hidden_states": True, "first_tokens": True} if self.layers else {}

    def __call__(self, outputs: Any) -> Tensor:
        """The view of a network's output, at least float32."""
        parts = [outputs.logits, *(outputs.hidden_states[layer][:, 0] for layer in self.layers)]
        kind = torch.promote_types(outputs.logits.dtype, torch.float32)
        return torch.cat([part.to(kind) for part in parts], dim=1)

    def split(self, seen: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        """Logits [B, C] and states [B, M, H] of a view with M > 0 layers."""
        return seen[:, :classes], seen[:, classes:].reshape(len(seen), len(self.layers), -1)

    def distance(self, teacher: Tensor, student: Tensor, classes: int) -> Tensor:
        """PKD's distance of the states of two such views; 0 where they hold logits alone."""
        if not self.layers:
            return student.new_zeros(())
        return patience(self.split(teacher, classes)[1], self.split(student, classes)[1])


def views(kind: LayerMap, teacher: Any, student: Any) -> tuple[FeatureView, FeatureView]:
    """Views of the layers that `layer_pairs` puts side by side.

    Args:
        teacher, student: the networks' configurations.
    """
    theirs, own = layer_pairs(kind, teacher.num_hidden_layers, student.num_hidden_layers)
    return FeatureView(theirs), FeatureView(own)
