"""Divergence: another distance between teacher and student than KD's (Ko et al., 2024; Agarwal et al., 2024).

Loss: L_S = ce_weight CE(y, S) + kd_weight tau^2 D(T_tau, S_tau), D a mean over the batch of
    kl                   KL(T || S), as KD
    reverse_kl           KL(S || T)
    jsd                  beta KL(T || M) + (1 - beta) KL(S || M), M = beta T + (1 - beta) S; KL(T || S) for beta = 0 and
                         KL(S || T) for beta = 1
    tvd                  1/2 sum |T - S|, total variation
    skewed_kl            KL(T || skew T + (1 - skew) S)
    skewed_reverse_kl    KL(S || skew S + (1 - skew) T)
Trained: the student. The teacher is fine-tuned first, then frozen, without dropout.
Paper and code: GKD (TRL) has the generalised JSD, DistiLLM the others; both distil language models, on texts that the
student writes, which classification has not. DistiLLM calls the mixing share lambda, the teacher's in skewed_kl and the
student's in skewed_reverse_kl and jsd; `skew` is the share of the distribution that KL starts from, `beta` that of the
teacher. jsd is not continuous in beta: at 0.1 the loss is over ten times smaller than at 0, as in TRL. DistiLLM's
skewed_kl is a cross-entropy, larger by the teacher's entropy, with the same gradient. Neither uses tau^2, nor another
temperature than 1 in the loss. Where a student is sure and wrong, every distance but kl has almost no gradient, so
the labels must keep some weight; that of the labels is LGTM's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from kdbench.core.lazy_torch import torch
from kdbench.core.options import Options, option
from kdbench.distill.losses import cross_entropy
from kdbench.distill.method import NEEDS_CLASSES, Distillation

if TYPE_CHECKING:
    from torch import Tensor

    from kdbench.data.batches import Batch

Kind = Literal["kl", "reverse_kl", "jsd", "tvd", "skewed_kl", "skewed_reverse_kl"]


class DivergenceOptions(Options):
    ce_weight: float = option(0.6, "weight of the cross-entropy with the labels", source="LGTM Table 5", ge=0)
    kd_weight: float = option(0.4, "weight of the distance", source="LGTM Table 5; DistiLLM: 1, no labels", ge=0)
    temperature: float = option(1.0, "divides the logits of both networks", source="GKD, DistiLLM, LGTM Table 5", gt=0)
    divergence: Kind = option("reverse_kl", "the distance", source="GKD, DistiLLM")
    beta: float = option(0.5, "the teacher's share in the mixture of jsd", source="GKD", ge=0, le=1)
    skew: float = option(0.1, "share of the first distribution in the mixture of both skewed forms", source="DistiLLM",
                         ge=0, lt=1)  # fmt: skip


class Divergence(Distillation):
    """Match the frozen teacher's probabilities by another divergence than KL(T || S)."""

    title = "Reverse KL"
    version = 1
    paper = "Ko et al., 2024"
    group = "logits"
    no_regression = NEEDS_CLASSES
    position = 24
    options_type = DivergenceOptions
    options: DivergenceOptions
    limits = {"labels_only": {"ce_weight": 1.0, "kd_weight": 0.0}, "teacher_only": {"ce_weight": 0.0}}
    variants = {
        "jsd": ("JSD", {"divergence": "jsd"}),
        "tvd": ("TVD", {"divergence": "tvd"}),
        "skewed_kl": ("Skewed KL", {"divergence": "skewed_kl"}),
        "skewed_reverse_kl": ("Skewed reverse KL", {"divergence": "skewed_reverse_kl"}),
    }

    def loss(self, batch: Batch) -> Tensor:
        o, s = self.options, self.student.logits(batch)
        distance = self.distance(self.teacher.logits(batch), s)
        return o.ce_weight * cross_entropy(batch.labels, s) + o.kd_weight * o.temperature**2 * distance

    def distance(self, t: Tensor, s: Tensor) -> Tensor:
        """Compute D from logits [B, C], by logarithms of probabilities."""
        o = self.options
        logt, logs = ((z / o.temperature).log_softmax(1) for z in (t, s))
        if o.divergence == "kl" or (o.divergence == "jsd" and o.beta == 0):
            return _kl(logt, logs)
        if o.divergence == "reverse_kl" or (o.divergence == "jsd" and o.beta == 1):
            return _kl(logs, logt)
        if o.divergence == "jsd":
            mixed = _mix(logt, logs, o.beta)
            return o.beta * _kl(logt, mixed) + (1 - o.beta) * _kl(logs, mixed)
        if o.divergence == "tvd":
            return (logt.exp() - logs.exp()).abs().sum(1).mean() / 2
        first, second = (logt, logs) if o.divergence == "skewed_kl" else (logs, logt)
        return _kl(first, _mix(first, second, o.skew))


def _kl(logp: Tensor, logq: Tensor) -> Tensor:
    """Compute KL(P || Q) from log-probabilities [B, C]."""
    return (logp.exp() * (logp - logq)).sum(1).mean()


def _mix(logp: Tensor, logq: Tensor, share: float) -> Tensor:
    """Compute log(share P + (1 - share) Q) from log-probabilities [B, C]; share < 1."""
    if not share:
        return logq
    return torch.logaddexp(logp + math.log(share), logq + math.log(1 - share))
