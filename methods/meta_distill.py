"""Meta Distill: the teacher minimises its student's loss on held-out data (Zhou et al., 2022).

Loss: L_S = ce_weight CE(y, S) + kd_weight tau^2 D(T, S) [+ beta of PKD's distance]. For the teacher, with a pilot step
theta' = theta_s - lambda grad L_S(theta_s, theta_t):   L_T = CE(y^q, S(x^q; theta')), and nothing else.
Trained: the teacher is fine-tuned first. Then each batch makes the student's pilot step, updates the teacher, and
updates the student from the new teacher. The feedback rows are the held-out set ("quiz"): the student never trains on
them; the teacher saw their labels during fine-tuning.
Paper and code: the paper writes KL, the code squares differences of probabilities. The code uses the whole held-out
set at every step (`held_batches=0`), we use one batch, as LGTM does. Weights and temperature are LGTM's; variant
`meta_distill_released` has the code's, which also clips both gradients at 1 (`max_grad_norm`). The second-order
gradient is exact and needs no graph of the pilot step: it is -lambda grad_t d/d eps L_S(theta_s + eps v, theta_t) at
eps = 0 with v = grad L_T at theta', one forward-mode pass. In a regression, squared differences stand for CE and KL.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from kdbench.core.options import Options, option
from kdbench.core.spec import RunSpec
from kdbench.distill.hidden_states import FeatureView, LayerMap, feature_views, layer_mismatch
from kdbench.distill.lazy import bilevel
from kdbench.distill.losses import label_loss, logit_mse, output_distance, probability_mse
from kdbench.distill.method import Method, finetuned
from kdbench.models.reference import Shape

if TYPE_CHECKING:
    from torch import Tensor

    from kdbench.data.batches import Batch
    from kdbench.distill.bilevel import Params
    from kdbench.distill.context import MethodContext


class MetaDistillOptions(Options):
    ce_weight: float = option(0.6, "weight of the labels in L_S", source="LGTM Table 5; code: 0.5", ge=0)
    kd_weight: float = option(0.4, "weight of the distillation term in L_S", source="LGTM Table 5; code: 0.5", ge=0)
    temperature: float = option(1.0, "divides the logits of both networks", source="LGTM Table 5; code: 5", gt=0)
    soft: Literal["kl", "probability_mse", "logit_mse"] = option(
        "kl", "D: KL(T||S), or squared differences of probabilities or logits", source="MetaDistil; code: MSE"
    )
    beta: float = option(0.0, "weight of PKD's hidden-state distance", source="LGTM; code: 100", ge=0)
    layers: LayerMap = option("skip", "teacher layers compared if beta > 0: every k-th, or the last ones", source="PKD")
    pilot_lr: float = option(5e-5, "lambda, learning rate of the pilot step (SGD)", source="MetaDistil code", gt=0)
    held_batches: int = option(1, "feedback batches per step; 0 is all of them", source="ours; code: 0", ge=0)
    mode_pilot: Literal["train", "eval"] = option("train", "the student's dropout in the pilot step", source="code")


RELEASED = {
    "ce_weight": 0.5, "kd_weight": 0.5, "temperature": 5.0, "soft": "probability_mse", "beta": 100.0,
    "held_batches": 0,
}  # fmt: skip


class MetaDistill(Method):
    """Train the fine-tuned teacher further, on its student's loss on held-out rows alone."""

    title = "Meta Distill"
    version = 1
    paper = "Zhou et al., 2022"
    group = "paper"
    position = 10
    requires = frozenset({"teacher_lr", "feedback", "teacher_network"})
    options_type = MetaDistillOptions
    options: MetaDistillOptions
    variants = {"meta_distill_released": ("Meta Distill (released code)", RELEASED)}
    limits = {
        "labels_only": {"ce_weight": 1.0, "kd_weight": 0.0, "beta": 0.0},
        "teacher_only": {"ce_weight": 0.0, "beta": 0.0},
    }

    no_regression = ""
    class_options = {"soft": ("probability_mse",)}

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
        self.teacher = context.trainable_model(
            "teacher", context.trained_network("teacher"), lr=self.spec.training.teacher_lr
        )
        self.teacher_view, self.student_view = FeatureView(), FeatureView()
        if self.options.beta:
            configs = self.teacher.module.config, self.student.module.config
            self.teacher_view, self.student_view = feature_views(self.options.layers, *configs)

    def step(self, batch: Batch) -> dict[str, Tensor]:
        # the teacher, through the student's pilot step
        held = [self.context.feedback() for _ in range(self.options.held_batches or self.context.feedback_batches)]
        gradients = self.meta_gradient(batch, held)
        gradient_norm = self.teacher.global_norm(gradients)  # before clipping
        self.teacher.apply(list(gradients.values()))
        # the student, from the updated teacher
        with self.teacher.mode(False):
            t = self._teacher_features(batch).detach()
        loss = self.student_loss(batch.labels, t, self._student_features(batch))
        self.student.step(loss)
        return {"loss": loss, "meta_gradient_norm": gradient_norm}

    def meta_gradient(self, batch: Batch, held: list[Batch]) -> dict[str, Tensor]:
        """Compute d CE(y^q, S(x^q; theta')) / d theta_t exactly, by parameter."""
        pilot = self.options.mode_pilot == "train"
        before = bilevel.random_state(self.context.device)
        with self.student.mode(pilot), self.teacher.mode(False):
            s, t = self._student_features(batch), self._teacher_features(batch)
        # the pilot step, and the direction v at its end
        params = self.student.named_params()
        ahead = bilevel.sgd_step(
            params, bilevel.gradient(self.student_loss(batch.labels, t.detach(), s), params), self.options.pilot_lr
        )
        v = self._held_gradient(ahead, held)
        # the derivative along v, with the dropout masks of the pilot step
        with self.student.mode(pilot), bilevel.replay_random_state(before, self.context.device):
            z, dz = bilevel.jvp(self.student, v, batch, self.student_view)
        slope = -self.options.pilot_lr * bilevel.directional_derivative(self._distance, t, z, dz)
        return bilevel.gradient(slope, self.teacher.named_params())

    def _held_gradient(self, ahead: Params, held: list[Batch]) -> dict[str, Tensor]:
        """Compute v, the gradient of the mean loss on the held-out batches at the pilot student, without dropout."""
        total = sum(len(batch) for batch in held)
        v: dict[str, Tensor] = {}
        with self.student.mode(False):
            for batch in held:
                loss = label_loss(batch.labels, self.student.logits_at(ahead, batch)) * len(batch) / total
                v = {name: v[name] + g if v else g for name, g in bilevel.gradient(loss, ahead).items()}
        return v

    def student_loss(self, labels: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """Compute L_S from the features [B, C + M H] of both networks."""
        return self.options.ce_weight * label_loss(labels, s[:, : self.context.num_labels]) + self._distance(t, s)

    def _distance(self, t: Tensor, s: Tensor) -> Tensor:
        """Compute the terms of L_S that depend on the teacher."""
        o, classes = self.options, self.context.num_labels
        t_logits, s_logits = t[:, :classes], s[:, :classes]
        if o.soft == "logit_mse":
            soft = logit_mse(t_logits, s_logits)
        else:
            distance = output_distance if o.soft == "kl" else probability_mse
            soft = o.temperature**2 * distance(t_logits, s_logits, o.temperature)
        return o.kd_weight * soft + o.beta * self.teacher_view.distance(t, s, classes)

    def _student_features(self, batch: Batch) -> Tensor:
        return self.student_view(self.student.outputs(batch, **self.student_view.output_flags))

    def _teacher_features(self, batch: Batch) -> Tensor:
        return self.teacher_view(self.teacher.outputs(batch, **self.teacher_view.output_flags))
