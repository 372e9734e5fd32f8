"""MiniLM: match the relations among queries, among keys and among values of one layer, besides KD (Wang et al., 2021).

Loss: L_S = ce_weight CE(y, S) + kd_weight tau^2 KL(T_tau || S_tau) + relation_weight sum_X w_X KL(R_X^t || R_X^s)
over X = queries, keys and values, with R_X = softmax(X X' / sqrt(d)) over the real tokens of an example, in
`relation_heads` parts of the width; KL is a mean over examples, parts and real tokens.
Trained: the student. The teacher is fine-tuned first, then frozen, without dropout. Widths and numbers of attention
heads may differ, so there is no linear map to learn.
Paper and code: MiniLMv2 distils a general language model before any task, with this loss alone; its training code is
not released, and an independent implementation gives our values. As an auxiliary loss of a task it is our use, with
LGTM's weights for the other terms: no gradient of the relations reaches the last layer's output or the classifier. The
paper takes 48 parts for a width of 768, and the last layer of a teacher of 12 layers, which are our defaults for any
width and depth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kdbench.core.options import option
from kdbench.core.spec import RunSpec
from kdbench.distill.losses import at_least_float32
from kdbench.distill.token_features import relation_kl
from kdbench.methods.kd import KD, KDOptions
from kdbench.models.reference import Shape

if TYPE_CHECKING:
    from torch import Tensor

    from kdbench.data.batches import Batch
    from kdbench.distill.context import MethodContext

PART_WIDTH = 16  # of the teacher, in each of the paper's parts: 768 / 48


class MiniLMOptions(KDOptions):
    relation_weight: float = option(1.0, "weight of the relations", source="ours", ge=0)
    query_weight: float = option(1.0, "weight of the relations of queries among them", source="MiniLMv2", ge=0)
    key_weight: float = option(1.0, "weight of the relations of keys among them", source="MiniLMv2", ge=0)
    value_weight: float = option(1.0, "weight of the relations of values among them", source="MiniLMv2", ge=0)
    relation_heads: int = option(
        0, "parts of the width, a divisor of both widths; 0: as many as leave the teacher 16 features or more in each",
        source="MiniLMv2: 48 for 768", ge=0,
    )  # fmt: skip
    teacher_layer: int = option(0, "the teacher's layer, from 1; 0 is the last", source="MiniLMv2", ge=0)
    student_layer: int = option(0, "the student's layer, from 1; 0 is the last", source="MiniLMv2", ge=0)


class MiniLM(KD):
    """Match the frozen teacher's probabilities, and the self-attention relations of one of its layers."""

    title = "MiniLM relations"
    paper = "Wang et al., 2021"
    group = "features"
    requires = frozenset({"teacher_network"})
    position = 31
    version = 2  # its losses are float32 in bf16 runs too
    options_type = MiniLMOptions
    options: MiniLMOptions
    limits = {
        "labels_only": {"ce_weight": 1.0, "kd_weight": 0.0, "relation_weight": 0.0},
        "teacher_only": {"ce_weight": 0.0},
    }

    @classmethod
    def check_compatible(cls, spec: RunSpec, student: Shape, others: Mapping[str, Shape], classes: int) -> str:
        o, teacher = spec.options, others["teacher"]
        if problem := super().check_compatible(spec, student, others, classes):
            return problem
        if o["relation_heads"] and (student.hidden % o["relation_heads"] or teacher.hidden % o["relation_heads"]):
            widths = f"{student.hidden} and {teacher.hidden}"
            return f"relation_heads={o['relation_heads']} does not divide the widths {widths}."
        for role, shape in (("teacher", teacher), ("student", student)):
            if o[f"{role}_layer"] > shape.layers:
                return f"{role}_layer={o[f'{role}_layer']}, and {shape.name} has {shape.layers} layers."
        return ""

    def build(self, context: MethodContext) -> None:
        super().build(context)
        teacher: Any = self.teacher.module.config
        student: Any = self.student.module.config
        widths = teacher.hidden_size, student.hidden_size
        self.heads = self.options.relation_heads or default_heads(*widths)
        self.teacher_layer = self.options.teacher_layer or teacher.num_hidden_layers
        self.student_layer = self.options.student_layer or student.num_hidden_layers

    def step(self, batch: Batch) -> dict[str, Tensor]:
        s = self.student.outputs(batch, qkv=(self.student_layer,))
        t = self.teacher.outputs(batch, qkv=(self.teacher_layer,))
        relations = self.relations(t.qkv[0], s.qkv[0], batch.attention_mask)
        logits = at_least_float32(s.logits)
        loss = self.objective(batch.labels, self.teacher.logits(batch), logits)
        loss = loss + self.options.relation_weight * relations
        self.student.step(loss)
        return {"loss": loss.detach(), "relations": relations.detach()}

    def relations(self, target: tuple[Tensor, ...], states: tuple[Tensor, ...], mask: Tensor) -> Tensor:
        """Compute the weighted distance of relations from queries, keys and values [B, L, H] of both networks."""
        weights = self.options.query_weight, self.options.key_weight, self.options.value_weight
        found = [w * relation_kl(t, s, self.heads, mask) for w, t, s in zip(weights, target, states, strict=True)]
        return found[0] + found[1] + found[2]


def default_heads(teacher_width: int, student_width: int) -> int:
    """Return the largest common divisor of both widths that leaves the teacher `PART_WIDTH` features in each part."""
    shared = math.gcd(teacher_width, student_width)
    return max(n for n in range(1, shared + 1) if shared % n == 0 and n <= max(1, teacher_width // PART_WIDTH))
