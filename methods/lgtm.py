"""LGTM: the teacher learns to lower its student's validation loss (Ren et al., 2023).

Loss: on a training batch z^r = (x, y) with a feedback batch z^e (Algorithm 1),
    theta'  = theta_s - eta_s grad L_s(theta_s, theta_t, z^r)            a look-ahead, Eq. 2
    v       = grad L_ce(y^e, S(x^e; theta'))                              where validation wants the student to go
    w_i     = grad CE(T_i, S_i) . v                                       distillation influence, Eq. 8
    L_t     = sign coef L_influence + teacher_ce CE(y, T) + (1 - teacher_ce) KL(S || T)              Eq. 9, 10, 11
    L_s     = student_ce CE(y, S) + (1 - student_ce) CE(T, S)             with the updated teacher, Eq. 1
Trained: both networks, from pre-trained weights and classifiers of zeros. A batch updates teacher, then student.
Paper and code: the printed sign of the influence raises the student's validation loss, the code's sign lowers it; we
follow the code. The printed auxiliary loss CE(T, S) has no fixed point at T = S, the code's KL(S || T) has; we follow
the code. The printed coefficient is 1, with which a pre-trained teacher stops learning (docs/lgtm.md); the code's is
the teacher's learning rate, with which the influence all but vanishes; we take `student_lr`, with which the term is
the exact gradient, but for dropout, of the student's feedback loss after its next SGD step. Eq. 9 and Eq. 10 do not
approximate each other; we use Eq. 10's gradient, by exact forward-mode differentiation. The code's look-ahead is an
AdamW step, ours is SGD as printed. The code's student sees no labels, ours has alpha = 0.6 (Table 5). Two options are
our own. `influence_center` replaces dz_i, the change of the student's logits along v, by dz_i - mean_j dz_j:
L_influence is then the covariance of -T and dz. `influence_bound` ensures |grad influence| <= bound |grad auxiliary
loss| at every sample's teacher logits. In a regression, squared differences stand for CE and KL, in the influence too.
Variants: `lgtm_printed` is the method as printed; `lgtm_released` is the code, except that the code does not shuffle
feedback; `lgtm_no_fda` is as printed with the weights of Eq. 9 computed sample by sample (Table 3); `lgtm_no_influence`
is ProKT with LGTM's alpha, rows, and dropout in the teacher's target.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, StringConstraints

from kdbench.core.lazy_torch import torch
from kdbench.core.options import option
from kdbench.distill.lazy import bilevel
from kdbench.distill.losses import OBJECTIVES, Objective, label_loss, output_distance, soft_label_loss_each
from kdbench.distill.method import Online, OnlineOptions

if TYPE_CHECKING:
    from torch import Tensor

    from kdbench.data.batches import Batch
    from kdbench.distill.bilevel import Params

Mode = Literal["train", "eval"]
Coefficient = float | Annotated[str, StringConstraints(pattern=r"^(teacher_lr|student_lr|match_aux:\d+(\.\d+)?)$")]

# Terms that keep the teacher near the student; each takes (student logits, teacher logits).
TEACHER_KD: dict[str, Objective] = {
    "kl_st": output_distance,
    "ce_ts": lambda s, t: soft_label_loss_each(t, s).mean(),
    "kl_ts": lambda s, t: output_distance(t, s),
}


class LGTMOptions(OnlineOptions):
    student_ce: float = option(0.6, "alpha: weight of the labels in the student's loss", source="Eq. 1", ge=0, le=1)
    teacher_ce: float = option(0.6, "alpha: weight of the labels in the teacher's loss", source="Eq. 11", ge=0, le=1)
    kd_loss: Literal["kl", "dist", "mse"] = option("kl", "the student's distillation objective", source="Table 2")
    teacher_kd: Literal["kl_st", "ce_ts", "kl_ts"] = option(
        "kl_st", "teacher's second term: KL(S||T) as in the code, CE(T,S) as printed, KL(T||S)", source="Eq. 3, code"
    )
    influence: Literal["jvp", "fda", "weighted", "none"] = option(
        "jvp", "computed as exact directional derivative, finite difference, per-sample weights, or not at all",
        source="Eq. 9, 10",
    )  # fmt: skip
    influence_loss: Literal["ce_ts", "kl_st", "kd_loss"] = option(
        "ce_ts", "the loss that the influence differentiates: CE(T,S), KL(S||T), or kd_loss",
        source="Eq. 8; code: kl_st",
    )  # fmt: skip
    influence_sign: Annotated[Literal[-1, 1], BeforeValidator(int)] = option(
        -1, "-1 lowers the student's validation loss; +1 is Eq. 11 as printed", source="Eq. 11, code"
    )
    influence_coef: Coefficient = option(
        "student_lr",
        "a number; teacher_lr; student_lr (times 1 - student_ce: the meta-gradient); or match_aux:RATIO, which fixes "
        "the ratio of gradient norms, influence to auxiliary loss",
        source="docs/lgtm.md; Eq. 11: 1; code: teacher_lr",
    )
    influence_scale: float = option(1.0, "further factor of the influence", source="code: 1 - teacher_ce")
    influence_center: Literal["none", "batch"] = option(
        "none",
        "batch: subtract the batch mean from the change dz of the student's logits (from w_i, if `weighted`), so that "
        "only differences between samples count",
        later=True,
    )
    influence_bound: float = option(
        0, "largest ratio of influence to auxiliary gradient norm at a sample's logits; 0: no bound", later=True, ge=0
    )
    influence_teacher: Literal["shared", "eval"] = option(
        "shared", "teacher pass of the influence: that of the auxiliary loss, or a second one without dropout"
    )
    fda_eps: float = option(1e-2, "epsilon of the finite difference", source="code", gt=0)
    fda_eps_mode: Literal["rel", "abs"] = option(
        "rel", "step of the difference: fda_eps / |v|, or fda_eps", source="code"
    )
    weights_via: Literal["jvp", "samples", "loop", "fda"] = option(
        "jvp",
        "how `weighted` computes w_i: forward mode; a forward and a backward pass for each sample; one forward pass "
        "and then a backward pass for each sample; finite difference",
        source="Table 3",
    )
    lookahead: Literal["sgd", "adam"] = option("sgd", "optimiser of the look-ahead step", source="Alg. 1; code: adam")
    precondition: bool = option(
        False, "with lookahead=adam: multiply v by the step's diagonal derivative, which contains the learning rate"
    )
    mode_aux: Mode = option("train", "the teacher's dropout in its auxiliary loss", source="code")
    mode_lookahead: Mode = option("train", "the student's dropout in the look-ahead", source="code")
    mode_target: Mode = option("eval", "the student's dropout as target without influence", source="ProKT", later=True)
    mode_val: Mode = option("eval", "the look-ahead student's dropout on feedback", source="code: train")
    mode_influence: Mode = option("eval", "the student's dropout in the influence", source="code")
    reuse_forward: bool = option(
        True, "use one forward pass of the student, so one dropout mask, for look-ahead and update", source="code: two"
    )
    update_order: Literal["teacher", "student", "simultaneous"] = option(
        "teacher", "the network that is updated first", source="Fig. 6"
    )


PRINTED = {
    "influence": "fda", "influence_sign": 1, "influence_coef": 1.0, "teacher_kd": "ce_ts",
    "mode_aux": "eval", "mode_lookahead": "eval", "mode_val": "eval",
}  # fmt: skip
RELEASED = {
    "influence": "fda", "influence_loss": "kl_st", "influence_coef": "teacher_lr", "influence_scale": 0.4,
    "influence_teacher": "eval", "lookahead": "adam", "student_ce": 0.0, "mode_val": "train", "reuse_forward": False,
}  # fmt: skip


class LGTM(Online):
    """Train both networks together; the teacher also learns from its student's loss on feedback rows."""

    title = "LGTM"
    version = 1
    paper = "Ren et al., 2023"
    group = "paper"
    position = 11
    requires = Online.requires | {"feedback"}
    options_type = LGTMOptions
    options: LGTMOptions
    variants = {
        "lgtm_printed": ("LGTM (as printed)", PRINTED),
        "lgtm_released": ("LGTM (released code)", RELEASED),
        "lgtm_no_fda": ("LGTM w/o FDA (as printed)", {**PRINTED, "influence": "weighted", "weights_via": "loop"}),
        "lgtm_no_influence": ("LGTM without influence", {"influence": "none", "mode_target": "train"}),
    }
    limits = {
        "labels_only": {"student_ce": 1.0, "zero_heads": False},
        "teacher_only": {"student_ce": 0.0, "teacher_ce": 0.0, "zero_heads": False},
        "no_feedback": {"influence": "none"},
    }
    no_regression = ""
    class_options = {"kd_loss": ("dist",)}

    def step(self, batch: Batch) -> dict[str, Tensor]:
        # Fig. 6: student first
        if self.options.update_order == "student":
            loss = self._student_loss(batch, self.teacher.target_logits(batch), self.student.logits(batch))
            self.student.step(loss)
            return {"loss": loss, **self._teacher_step(batch, *self._forward(batch))}
        # the teacher
        before = self.teacher.target_logits(batch) if self.options.update_order == "simultaneous" else None
        s, t = self._forward(batch)
        logs = self._teacher_step(batch, s, t)
        # the student, from the updated teacher
        target = self.teacher.target_logits(batch) if before is None else before
        if not self._reuses_forward():
            s = self.student.logits(batch)
        loss = self._student_loss(batch, target, s)
        self.student.step(loss)  # Alg. 1 line 8
        return {"loss": loss, **logs}

    def _forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Compute logits [B, C] of student and teacher for the teacher's step."""
        if self.options.influence == "none":  # no look-ahead: the student is only the teacher's target, as in ProKT
            s = self.student.target_logits(batch, train=self.options.mode_target == "train")
        else:
            with self.student.mode(self.options.mode_lookahead == "train"):
                s = self.student.logits(batch)
        with self.teacher.mode(self.options.mode_aux == "train"):
            return s, self.teacher.logits(batch)

    def _reuses_forward(self) -> bool:
        """Return whether the student's update can use the forward pass of the look-ahead, with the new target."""
        o = self.options
        return o.reuse_forward and o.mode_lookahead == "train" and o.influence != "none"

    def _student_loss(self, batch: Batch, t: Tensor, s: Tensor) -> Tensor:
        """Compute Eq. 1. KL(T || S) and CE(T, S) have the same gradient for the student."""
        alpha = self.options.student_ce
        return alpha * label_loss(batch.labels, s) + (1 - alpha) * OBJECTIVES[self.options.kd_loss](t, s)

    def auxiliary_loss(self, batch: Batch, s: Tensor, t: Tensor) -> Tensor:
        """Compute L_aux of Eq. 11 from the logits of student and teacher."""
        alpha = self.options.teacher_ce
        return alpha * label_loss(batch.labels, t) + (1 - alpha) * TEACHER_KD[self.options.teacher_kd](s, t)

    def direction(self, batch: Batch, feedback: Batch, s: Tensor, t: Tensor) -> dict[str, Tensor]:
        """Compute v = grad L_ce(y^e, S(x^e; theta')) at the look-ahead theta' (Alg. 1 lines 4 and 5), by parameter."""
        o, student = self.options, self.student
        grad = bilevel.gradient(self._student_loss(batch, t.detach(), s), student.named_params(), keep_graph=True)
        slope: Params = {}
        if o.lookahead == "adam":
            ahead, slope = bilevel.adam_step(student, grad)
        else:
            ahead = bilevel.sgd_step(student.named_params(), grad, student.current_lr)
        with student.mode(o.mode_val == "train"):
            v = bilevel.gradient(label_loss(feedback.labels, student.logits_at(ahead, feedback)), ahead)
        return {name: slope[name] * v[name] for name in v} if o.precondition and slope else v

    def influence(self, batch: Batch, t: Tensor, v: Params) -> Tensor:
        """Compute the influence term without sign and coefficient, differentiable in the teacher's logits `t`."""
        o = self.options
        with self.student.mode(o.mode_influence == "train"):
            if o.influence == "weighted":  # Eq. 9
                weights = self._centered(self._weights(batch, t.detach(), v))
                s = self.student.target_logits(batch, train=o.mode_influence == "train")
                return (weights * soft_label_loss_each(t, s)).mean()
            if o.influence == "fda":  # Eq. 10
                eps = self._epsilon(v)
                plus, minus = bilevel.perturbed_logits(self.student, v, eps, batch)
                if o.influence_center == "batch":
                    common = (plus - minus).mean(0) / 2
                    plus, minus = plus - common, minus + common
                return (self._influence_loss(t, plus) - self._influence_loss(t, minus)) / (2 * eps)
            z, dz = bilevel.jvp(self.student, v, batch)
            return bilevel.directional_derivative(self._influence_loss, t, z, self._centered(dz))

    def _centered(self, values: Tensor) -> Tensor:
        """Subtract the mean over the batch (the first dimension) if `influence_center` is "batch"."""
        return values - values.mean(0) if self.options.influence_center == "batch" else values

    def _influence_loss(self, t: Tensor, s: Tensor) -> Tensor:
        if self.options.influence_loss == "kd_loss":
            return OBJECTIVES[self.options.kd_loss](t, s)
        return soft_label_loss_each(t, s).mean() if self.options.influence_loss == "ce_ts" else output_distance(s, t)

    def _epsilon(self, v: Params) -> Tensor:
        """Return epsilon of the finite difference, a scalar on the device of `v`."""
        length = self.student.global_norm(v)
        relative = self.options.fda_eps / length.clamp_min(torch.finfo(length.dtype).tiny)
        return relative if self.options.fda_eps_mode == "rel" else torch.full_like(length, self.options.fda_eps)

    def _weights(self, batch: Batch, t: Tensor, v: Params) -> Tensor:
        """Compute w_i of Eq. 8 [B], in one of four equivalent ways."""
        if self.options.weights_via == "jvp":
            return bilevel.sample_weights(t, *bilevel.jvp(self.student, v, batch))
        if self.options.weights_via == "fda":
            eps = self._epsilon(v)
            plus, minus = (soft_label_loss_each(t, s) for s in bilevel.perturbed_logits(self.student, v, eps, batch))
            return (plus - minus) / (2 * eps)
        # generators: only one sample's gradients are in memory at a time
        params = self.student.named_params()
        if self.options.weights_via == "samples":
            alone = ((t[i : i + 1], batch.rows(slice(i, i + 1))) for i in range(len(batch)))
            losses: Iterable[Tensor] = (soft_label_loss_each(one, self.student.logits(x)).mean() for one, x in alone)
        else:
            losses = soft_label_loss_each(t, self.student.logits(batch))
        each = (bilevel.gradient(loss, params, keep_graph=True) for loss in losses)
        return torch.stack([torch.stack([(g[n] * v[n]).sum() for n in v]).sum() for g in each])

    def _teacher_step(self, batch: Batch, s: Tensor, t: Tensor) -> dict[str, Tensor]:
        """Compute Eq. 11 and update the teacher (Alg. 1 lines 4 to 7); return the numbers to log."""
        aux = self.auxiliary_loss(batch, s.detach(), t)
        if self.options.influence == "none":
            self.teacher.step(aux)
            return {"teacher_aux": aux}
        # the influence
        v = self.direction(batch, self.context.feedback(), s, t)
        t_influence = t
        if self.options.influence_teacher == "eval":
            with self.teacher.mode(False):
                t_influence = self.teacher.logits(batch)
        term = self.influence(batch, t_influence, v)
        # its sign, coefficient and bound
        coefficient, ratio = self._coefficient(aux, term)
        weighted = coefficient * term
        if self.options.influence_bound:
            weighted = self._bounded(weighted, t_influence, aux, t)
            if self.context.probe_is_due:
                with self.context.not_counted():
                    ratio = self._ratio(weighted, aux)
        self.teacher.step(aux + weighted)
        # for Figures 3 and 4
        if self.context.probe_is_due and self.context.probe is not None and self.context.num_labels > 1:
            with self.context.not_counted():
                self._record(self.context.probe, v, ratio)
        return {"teacher_aux": aux, "influence": term, "v_norm": self.student.global_norm(v)}

    def _bounded(self, term: Tensor, t_influence: Tensor, aux: Tensor, t: Tensor) -> Tensor:
        """Return a scalar with the gradient of `term` at the logits `t_influence` [B, C], shortened for every sample.

        With g the gradient of `term` and a that of the auxiliary loss at its logits `t`, |g_i| <= bound |a_i|. With a
        bound below 1, a_i . (a_i + g_i) > 0, so the influence never reverses a sample's step on the auxiliary loss.
        """
        (g,) = torch.autograd.grad(term, t_influence, retain_graph=True)
        (a,) = torch.autograd.grad(aux, t, retain_graph=True)
        g_norm, a_norm = (torch.linalg.vector_norm(x, dim=1, keepdim=True) for x in (g, a))
        factor = (self.options.influence_bound * a_norm / g_norm.clamp_min(1e-30)).clamp_max(1.0)
        bounded: Tensor = (factor * g * t_influence).sum()
        return bounded

    def _ratio(self, term: Tensor, aux: Tensor) -> Tensor:
        """Compute |grad term| / |grad aux| over all of the teacher's weights."""
        params = self.teacher.named_params()
        norms = [self.teacher.global_norm(bilevel.gradient(loss, params, keep_graph=True)) for loss in (term, aux)]
        return norms[0] / norms[1].clamp_min(1e-30)

    def _coefficient(self, aux: Tensor, term: Tensor) -> tuple[float | Tensor, Tensor]:
        """Return the signed factor of the influence, and the ratio of gradient norms |influence| / |aux| or NaN.

        The ratio takes two backward passes; it is computed where the coefficient depends on it or a probe is due.
        """
        o, ratio = self.options, torch.tensor(float("nan"))
        matched = isinstance(o.influence_coef, str) and o.influence_coef.startswith("match_aux")
        if matched or self.context.probe_is_due:
            with nullcontext() if matched else self.context.not_counted():
                ratio = self._ratio(term, aux)
        sign = o.influence_sign * o.influence_scale
        if isinstance(o.influence_coef, float):
            return sign * o.influence_coef, ratio * abs(o.influence_coef * o.influence_scale)
        if matched:
            wanted = float(o.influence_coef.partition(":")[2])
            return sign * wanted / ratio.clamp_min(1e-30), torch.tensor(wanted * abs(o.influence_scale))
        # student_lr with sign -1 is the exact meta-gradient, if both student passes have the same dropout and the
        # influence is that of the student's own objective. A preconditioned v contains the rate already.
        own_rate = 1.0 if o.precondition and o.lookahead == "adam" else self.student.current_lr
        own_rate *= 1 - o.student_ce
        rates: Mapping[str, float] = {"teacher_lr": self.teacher.current_lr, "student_lr": own_rate}
        rate = rates[o.influence_coef]
        return sign * rate, ratio * rate * o.influence_scale

    def _record(self, probe: Batch, v: Params, ratio: Tensor) -> None:
        """Record the influence of the probe samples between the two updates (Figures 3 and 4; of classes only)."""
        with self.student.mode(False):
            z, dz = bilevel.jvp(self.student, v, probe)
        t = self.teacher.target_logits(probe)
        rows = probe.labels[:, None]
        self.context.record(
            {
                "sample": probe.index,
                "label": probe.labels,
                "influence": bilevel.sample_weights(t, z, dz),
                "teacher_p": t.softmax(1).gather(1, rows),
                "student_p": z.softmax(1).gather(1, rows),
                "teacher_predicts": t.argmax(1),
                "student_predicts": z.argmax(1),
                "influence_ratio": ratio,
            }
        )
