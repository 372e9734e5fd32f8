"""TinyBERT: imitate the teacher's attention and hidden states first, its predictions afterwards (Jiao et al., 2020).

Loss: in the first stage, over the student's layers i and the teacher's layers g(i), 0 being the embeddings,
    L_S = attention_weight sum_{i >= 1} MSE(A_i^s, A_g(i)^t) + state_weight sum_{i >= 0} MSE(H_i^s W + b, H_g(i)^t)
with attention scores A = Q K' / sqrt(d) before the softmax, 0 where they are -100 or less; in the second stage
    L_S = -mean T_tau log S_tau, a mean over the batch and the classes. Neither sees a label.
Trained: the student; in the first stage also one linear map W, b for all layers, saved with checkpoints. Optimiser and
learning-rate schedule begin anew with the second stage, which alone gives the best checkpoint: the classifier is not
trained before. The teacher is fine-tuned first, then frozen, without dropout.
Paper and code: this is the task-specific half of the paper, without its data augmentation. The code has one map for
embeddings and layers, the paper two, and leaves the teacher's dropout on; its layers have to divide, ours round down.
Padded tokens are most of the code's means at length 128; ours are over real tokens. `padding=include` takes those of a
batch, which is padded to its longest row alone. The code's first stage takes 10 epochs at a constant rate, the second 3
at another; here both divide the run's steps in that proportion, each with the run's rate and schedule. The code clips
each tensor's gradient, decays weights by 0.01 and leaves out a short last batch. Its classifier is not that of a
Hugging Face BERT; networks keep their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from kdbench.core.lazy_torch import nn, torch
from kdbench.core.options import Options, option
from kdbench.core.spec import RunSpec
from kdbench.distill.lazy import trainable
from kdbench.distill.losses import soft_cross_entropy
from kdbench.distill.method import NEEDS_CLASSES, Distillation
from kdbench.distill.token_features import attention_scores, masked_mse, pair_mask
from kdbench.models.reference import Shape

if TYPE_CHECKING:
    from torch import Tensor

    from kdbench.data.batches import Batch
    from kdbench.distill.context import MethodContext

LEAST_SCORE = -1e2  # scores up to here, those of padded keys among them, count as 0 on both sides (code)


class TinyBERTOptions(Options):
    stage1_share: float = option(
        10 / 13, "share of the steps in the first stage", source="TinyBERT code: 10 and 3 epochs", ge=0, lt=1
    )
    attention_weight: float = option(1.0, "weight of the attention scores; 0 leaves them out", source="TinyBERT", ge=0)
    state_weight: float = option(1.0, "weight of embeddings and hidden states", source="TinyBERT", ge=0)
    layers: Literal["uniform", "last"] = option("uniform", "g: every k-th layer of the teacher, or the last ones",
                                                source="TinyBERT")  # fmt: skip
    padding: Literal["mask", "include"] = option("mask", "padded tokens in the means", source="ours; code: include")
    temperature: float = option(1.0, "divides the logits in the second stage", source="TinyBERT code", gt=0)


class TinyBERT(Distillation):
    """Match the frozen teacher's attention scores and hidden states, then its predictions."""

    title = "TinyBERT"
    paper = "Jiao et al., 2020"
    group = "features"
    no_regression = NEEDS_CLASSES
    requires = frozenset({"teacher_network"})
    position = 29
    version = 2  # its losses are float32 in bf16 runs too
    options_type = TinyBERTOptions
    options: TinyBERTOptions
    limits = {"teacher_only": {}}

    @classmethod
    def check_compatible(cls, spec: RunSpec, student: Shape, others: Mapping[str, Shape], classes: int) -> str:
        teacher = others["teacher"]
        if teacher.layers < student.layers:
            return f"it needs a teacher at least as deep, and {teacher.name} has {teacher.layers} layers."
        if spec.options["attention_weight"] and teacher.heads != student.heads:
            return (
                f"it has {student.heads} attention heads and {teacher.name} has {teacher.heads}; choose equal numbers, "
                "or leave attention out with --set tinybert.attention_weight=0."
            )
        return ""

    def build(self, context: MethodContext) -> None:
        super().build(context)
        student: Any = self.student.module.config
        teacher: Any = self.teacher.module.config
        self.layers = layer_map(self.options.layers, teacher.num_hidden_layers, student.num_hidden_layers)
        self.heads = student.num_attention_heads
        # the schedule of the first stage; the second starts its own. A single step, as in a smoke test, is of the first
        total = context.total_steps
        self.first_steps = min(round(self.options.stage1_share * total), max(1, total - 1))
        linear = nn.Linear(student.hidden_size, teacher.hidden_size)
        self.projection = context.trainable_model("projection", linear, lr=self.spec.training.student_lr)
        if self.first_steps:
            self.student.restart_schedule(self.first_steps)
            self.projection.restart_schedule(self.first_steps)

    def may_be_best(self, step: int) -> bool:
        return step > self.first_steps

    def step(self, batch: Batch) -> dict[str, Tensor]:
        step, first = self.context.step, self.first_steps
        if step < first:
            attention, states = self.first_stage(batch)
            loss = self.options.attention_weight * attention + self.options.state_weight * states
            trainable.step_together(loss, self.student, self.projection)
            return {"loss": loss, "attention": attention, "states": states}
        if step == first and first:
            self.student.restart_optimizer(self.context.total_steps - first)
        loss = self.second_stage(self.teacher.logits(batch), self.student.logits(batch))
        self.student.step(loss)
        return {"loss": loss}

    def first_stage(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Compute the distances of attention scores and of states; a weight of 0 saves the scores."""
        own = tuple(range(1, len(self.layers) + 1))
        with_scores = bool(self.options.attention_weight)
        found = []
        for network, layers in ((self.teacher, self.layers), (self.student, own)):
            more = {"qkv": layers} if with_scores else {}
            found.append(network.outputs(batch, output_hidden_states=True, **more))
        t, s = found
        mask = batch.attention_mask
        states = self.state_distance([t.hidden_states[i] for i in (0, *self.layers)], s.hidden_states, mask)
        if not with_scores:
            return torch.zeros_like(states), states
        of_teacher, of_student = ([attention_scores(q, k, self.heads, mask) for q, k, _ in out.qkv] for out in found)
        return self.attention_distance(of_teacher, of_student, mask), states

    def attention_distance(self, target: Sequence[Tensor], scores: Sequence[Tensor], mask: Tensor) -> Tensor:
        """Compute the sum over layers of the distance of scores [B, heads, L, L] before the softmax."""
        pairs = None if self.options.padding == "include" else pair_mask(mask)
        cut = ([torch.where(x <= LEAST_SCORE, 0.0, x) for x in some] for some in (target, scores))
        return torch.stack([masked_mse(t, s, pairs) for t, s in zip(*cut, strict=True)]).sum()

    def state_distance(self, target: Sequence[Tensor], states: Sequence[Tensor], mask: Tensor) -> Tensor:
        """Compute the sum over embeddings and layers of the distance of states [B, L, H] after the linear map."""
        real = None if self.options.padding == "include" else mask[..., None]
        mapped = self.projection.module(torch.stack(list(states), dim=1)).unbind(1)
        return torch.stack([masked_mse(t, s, real) for t, s in zip(target, mapped, strict=True)]).sum()

    def second_stage(self, t: Tensor, s: Tensor) -> Tensor:
        """Compute the distance of predictions from logits [B, C]."""
        tau = self.options.temperature
        return soft_cross_entropy(t / tau, s / tau) / s.shape[1]


def layer_map(kind: str, teacher_layers: int, student_layers: int) -> tuple[int, ...]:
    """Return the teacher's layer for each layer of the student, from 1; the last ones always belong together."""
    own = range(1, student_layers + 1)
    if kind == "last":
        return tuple(teacher_layers - student_layers + i for i in own)
    return tuple(i * teacher_layers // student_layers for i in own)
