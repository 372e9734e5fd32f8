"""Methods of the kinds that the engine must carry without a change: small, and not meant to be good."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from kdbench.core.spec import RunSpec
from kdbench.data.batches import Batch
from kdbench.distill.bilevel import directional_derivative, gradient, jvp, sgd_step
from kdbench.distill.context import MethodContext
from kdbench.distill.losses import cross_entropy, kl
from kdbench.distill.method import Distillation, Method, finetuned
from kdbench.distill.trainable import step_together
from kdbench.models.reference import Shape
from kdbench.planning.make_plan import model_ref


class Route(Method):
    """A teacher's checkpoints along its way, one after the other (as RCO)."""

    title = "toy route"
    shares = (0.34, 0.67)

    @classmethod
    def needs(cls, spec: RunSpec) -> dict[str, RunSpec]:
        return {"teacher": finetuned(spec, snapshots=cls.shares)}

    def build(self, context: MethodContext) -> None:
        super().build(context)
        self.anchors = [context.frozen_teacher("teacher", share) for share in (*self.shares, None)]

    def loss(self, batch: Batch) -> Tensor:
        stage = min(2, 3 * self.context.step // self.context.total_steps)
        return kl(self.anchors[stage].logits(batch), self.student.logits(batch))


class Assistant(Method):
    """A teacher of intermediate size, itself distilled (as TAKD)."""

    title = "toy assistant"

    @classmethod
    def needs(cls, spec: RunSpec) -> dict[str, RunSpec]:
        options = {"ce_weight": 0.5, "kd_weight": 0.5, "temperature": 2.0, "t2": True}
        return {"assistant": spec.derive(method="kd", student=model_ref("tiny-2x64"), options=options)}

    def build(self, context: MethodContext) -> None:
        super().build(context)
        self.assistant = context.frozen_teacher("assistant")

    def loss(self, batch: Batch) -> Tensor:
        return kl(self.assistant.logits(batch), self.student.logits(batch))


class Hidden(Distillation):
    """First-token states of intermediate layers (as PKD)."""

    title = "toy hidden states"

    @classmethod
    def check_compatible(cls, spec: RunSpec, student: Shape, others: Mapping[str, Shape], classes: int) -> str:
        wide = others["teacher"].hidden
        return "" if wide == student.hidden else f"hidden sizes {student.hidden} and {wide} differ."

    def loss(self, batch: Batch) -> Tensor:
        s = self.student.outputs(batch, output_hidden_states=True)
        t = self.teacher.outputs(batch, output_hidden_states=True)
        return (
            cross_entropy(batch.labels, s.logits)
            + (s.hidden_states[1][:, 0] - t.hidden_states[2][:, 0]).square().mean()
        )


class Adapter(Distillation):
    """A small network on a frozen teacher's logits, trained with the student in one backward pass (as PESF-KD)."""

    title = "toy adapter"
    requires = frozenset({"teacher_lr"})

    def build(self, context: MethodContext) -> None:
        super().build(context)
        self.adapter = context.trainable_model(
            "adapter", nn.Linear(context.num_labels, context.num_labels), lr=self.spec.training.teacher_lr
        )

    def step(self, batch: Batch) -> dict[str, Tensor]:
        s, t = self.student.logits(batch), self.adapter.module(self.teacher.logits(batch))
        loss = cross_entropy(batch.labels, s) + cross_entropy(batch.labels, t) + kl(t, s)
        step_together(loss, self.student, self.adapter)
        return {"loss": loss}


class Meta(Method):
    """A fine-tuned teacher that follows the student's loss on feedback, and a state of its own (as Meta Distill)."""

    title = "toy meta"
    requires = frozenset({"teacher_lr", "feedback"})

    @classmethod
    def needs(cls, spec: RunSpec) -> dict[str, RunSpec]:
        return {"teacher": finetuned(spec)}

    def build(self, context: MethodContext) -> None:
        super().build(context)
        self.teacher = context.trainable_model(
            "teacher", context.trained_network("teacher"), lr=self.spec.training.teacher_lr
        )
        self.average = torch.zeros(())

    def step(self, batch: Batch) -> dict[str, Tensor]:
        with self.student.mode(False), self.teacher.mode(False):
            t = self.teacher.logits(batch)
            feedback = self.context.feedback()
            params = self.student.named_params()
            ahead = sgd_step(params, gradient(kl(t.detach(), self.student.logits(batch)), params), 0.1)
            v = gradient(cross_entropy(feedback.labels, self.student.logits_at(ahead, feedback)), ahead)
            self.teacher.step(-directional_derivative(kl, t, *jvp(self.student, v, batch)))
        loss = kl(self.teacher.target_logits(batch), self.student.logits(batch))
        self.average = 0.9 * self.average + 0.1 * loss.detach()
        self.student.step(loss * (1 + self.average))
        return {"loss": loss, "average": self.average}

    def state(self) -> dict[str, Tensor]:
        return {"average": self.average}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.average = state["average"]


TOYS = {"route": Route, "assistant": Assistant, "hidden": Hidden, "adapter": Adapter, "meta": Meta}


class AskingForMaps(Distillation):
    """Match attention maps of the last layer."""

    title = "maps"

    def loss(self, batch: Batch) -> Tensor:
        s, t = (network.outputs(batch, output_attentions=True) for network in (self.student, self.teacher))
        gap: Tensor = s.attentions[-1] - t.attentions[-1]
        return cross_entropy(batch.labels, s.logits) + gap.square().mean()
