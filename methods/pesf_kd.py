"""PESF-KD: a small trained adapter adjusts the frozen teacher's logits for its student (Rao et al., 2022).

Loss: L = ce_weight (CE(y, S) + CE(y, T')) + kd_weight tau^2 D(T', S) [+ beta of PKD's distance], with
t' = t + W0 h + b0 + dropout(W2 relu(W1 h + b1) + b2), where h is what the teacher's classifier reads.
Trained: the teacher is fine-tuned first, then frozen, in eval mode. Adapter and student are trained in one backward
pass. T' is not detached, so D also moves the adapter towards the student.
Paper and code: the paper writes KL. The code for text squares differences of probabilities (`soft=probability_mse`),
that for images distils both ways on logits with the largest and the true entry exchanged (`corrected`). The published
command never enables the adapter and, because of a misspelt attribute, trains the whole teacher (`train=all`). We
follow the paper; weights and temperature are LGTM's. The code clips the student's gradient alone; here `max_grad_norm`
applies to both. In a regression, squared differences stand for CE and D, and the other values of `soft` do not fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from kdbench.core.lazy_torch import nn, torch
from kdbench.core.options import Options, option
from kdbench.core.spec import RunSpec
from kdbench.distill.hidden_states import FeatureView, LayerMap, feature_views, layer_mismatch
from kdbench.distill.lazy import trainable
from kdbench.distill.losses import kl, label_loss, output_distance, probability_mse
from kdbench.distill.method import Method, finetuned
from kdbench.models.reference import Shape

if TYPE_CHECKING:
    from torch import Tensor

    from kdbench.data.batches import Batch
    from kdbench.distill.context import MethodContext


class PESFOptions(Options):
    ce_weight: float = option(0.6, "weight of the labels for student and adapter", source="LGTM Table 5", ge=0)
    kd_weight: float = option(0.4, "weight of the distillation term", source="LGTM Table 5; code: 0.5", ge=0)
    temperature: float = option(1.0, "divides the logits of both networks", source="LGTM Table 5; code: 5", gt=0)
    soft: Literal["kl", "probability_mse", "corrected"] = option(
        "kl",
        "D: KL(T'||S), squared differences of probabilities, or the corrected pair of the code for images",
        source="PESF-KD; code",
    )
    beta: float = option(0.0, "weight of PKD's hidden-state distance", source="LGTM; code: 100", ge=0)
    layers: LayerMap = option("skip", "teacher layers compared if beta > 0: every k-th, or the last ones", source="PKD")
    train: Literal["adapter", "all"] = option(
        "adapter", "train an adapter, or the whole teacher without adapter", source="PESF-KD; code: all"
    )
    adapter_hidden: int = option(64, "width of the adapter's hidden layer", source="PESF-KD code", ge=1)
    adapter_dropout: float = option(0.1, "dropout of the adapter's second branch", source="PESF-KD code", ge=0, lt=1)
    adapter_mode: Literal["eval", "train"] = option("eval", "the adapter's dropout in training", source="code")


def adapter(size: int, hidden: int, classes: int, dropout: float) -> nn.Module:
    """Build the adapter, which maps the classifier's input [B, H] to a change of the teacher's logits [B, C]."""

    class Adapter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.direct = nn.Linear(size, classes)  # W0
            self.narrow, self.wide = nn.Linear(size, hidden), nn.Linear(hidden, classes)  # W1, W2
            self.dropout = nn.Dropout(dropout)
            for layer in (self.direct, self.narrow, self.wide):
                nn.init.normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

        def forward(self, h: Tensor) -> Tensor:
            out: Tensor = self.direct(h) + self.dropout(self.wide(self.narrow(h).relu()))
            return out

    return Adapter()


RELEASED = {
    "ce_weight": 0.5, "kd_weight": 0.5, "temperature": 5.0, "soft": "probability_mse", "beta": 100.0, "train": "all",
}  # fmt: skip


class PESFKD(Method):
    """Train a student and an adapter on the frozen teacher's logits, in one loss."""

    title = "PESF-KD"
    version = 1
    paper = "Rao et al., 2022"
    group = "paper"
    position = 9
    requires = frozenset({"teacher_lr", "teacher_network"})
    options_type = PESFOptions
    options: PESFOptions
    variants = {"pesf_kd_released": ("PESF-KD (released code)", RELEASED)}
    limits = {
        "labels_only": {"ce_weight": 1.0, "kd_weight": 0.0, "beta": 0.0},
        "teacher_only": {"ce_weight": 0.0, "beta": 0.0},
    }

    no_regression = ""
    class_options = {"soft": ("probability_mse", "corrected")}

    @classmethod
    def needs(cls, spec: RunSpec) -> dict[str, RunSpec]:
        return {"teacher": finetuned(spec)}

    @classmethod
    def check_compatible(cls, spec: RunSpec, student: Shape, others: Mapping[str, Shape], classes: int) -> str:
        if not spec.options["beta"]:
            return ""
        return layer_mismatch(student, others["teacher"], f"{spec.method}.beta=0")

    def build(self, context: MethodContext) -> None:
        super().build(context)
        o, rate = self.options, self.spec.training.teacher_lr
        # the trained part of the teacher: all of it (released code), or the adapter
        if o.train == "all":
            self.teacher = context.trainable_model("teacher", context.trained_network("teacher"), lr=rate)
            config: Any = self.teacher.module.config
        else:
            self.frozen = context.frozen_teacher("teacher")
            config = self.frozen.module.config
            module = adapter(self.frozen.head_width, o.adapter_hidden, context.num_labels, o.adapter_dropout)
            self.teacher = context.trainable_model("adapter", module, lr=rate)
        self.teacher_view, self.student_view = FeatureView(), FeatureView()
        if o.beta:
            self.teacher_view, self.student_view = feature_views(o.layers, config, self.student.module.config)

    def step(self, batch: Batch) -> dict[str, Tensor]:
        t, s = self._teacher(batch), self.student_view(self.student.outputs(batch, **self.student_view.output_flags))
        loss, teacher_ce = self.objective(batch.labels, t, s)
        trainable.step_together(loss, self.student, self.teacher)
        return {"loss": loss, "teacher_loss": teacher_ce}

    def _teacher(self, batch: Batch) -> Tensor:
        """Compute the features [B, C + M H] of the adapted teacher, with gradients to its trained part."""
        if self.options.train == "all":
            with self.teacher.mode(False):
                return self.teacher_view(self.teacher.outputs(batch, **self.teacher_view.output_flags))
        h, seen = self.frozen.head_inputs(batch, self.teacher_view)
        with self.teacher.mode(self.options.adapter_mode == "train"):
            change = self.teacher.module(h)
        classes = self.context.num_labels
        return torch.cat([seen[:, :classes] + change, seen[:, classes:]], dim=1)

    def objective(self, labels: Tensor, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """Compute L from the features [B, C + M H] of both networks, and CE(y, T') alone."""
        o, classes = self.options, self.context.num_labels
        t_logits, s_logits = t[:, :classes], s[:, :classes]
        teacher_ce = label_loss(labels, t_logits)
        loss = o.ce_weight * (label_loss(labels, s_logits) + teacher_ce)
        loss = loss + o.kd_weight * o.temperature**2 * self._soft(labels, t_logits, s_logits)
        return loss + o.beta * self.teacher_view.distance(t, s, classes), teacher_ce

    def _soft(self, labels: Tensor, t: Tensor, s: Tensor) -> Tensor:
        o = self.options
        if o.soft == "kl":
            return output_distance(t, s, o.temperature)
        if o.soft == "probability_mse":
            return probability_mse(t, s, o.temperature)
        return kl(corrected(t, labels), s, o.temperature) + kl(t, corrected(s, labels), o.temperature)


def corrected(logits: Tensor, labels: Tensor) -> Tensor:
    """Exchange the largest and the true class's entry of detached logits [B, C], so that predictions are correct."""
    z, rows = logits.detach(), torch.arange(len(labels), device=labels.device)
    top = z.argmax(1)
    out = z.clone()
    out[rows, labels], out[rows, top] = z[rows, top], z[rows, labels]
    return out
