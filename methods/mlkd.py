"""MLKD: match each row, pairs of rows, and pairs of classes, at five temperatures (Jin et al., 2023).

Loss: L_S = ce_weight (CE(y, S) + CE(y, S')) + kd_weight (rows + relation_weight (batch + classes)), summed over the
temperatures {tau, 2, 3, 5, 6}; S' is the student's second view, P the probabilities [B, C] at a temperature:
    rows     m sum_5 KD(S) + sum_{tau, 3, 5} KD(S') + sum_{2, 6} KD(S), with KD = tau^2 KL(T || S)
    batch    m sum_5 |P_t P_t' - P_s P_s'|^2 / B
    classes  m_c sum_5 |P_t' P_t - P_s' P_s|^2 / C
m is the share of rows whose teacher is no surer than the median row, m_c that of classes with no more mass in the batch
than the median class.
Trained: the student. The teacher is fine-tuned first, then frozen, without dropout.
Paper and code: the code's masks were meant to choose rows and classes, but multiply losses that are averaged already,
so they are factors; it takes two temperatures of the second view from the first, and leaves the second view's relations
out. We follow the code. Its views are a weak and a strong augmentation, which texts have not: here they are one pass of
the student, or two with other dropout (`views`). The relations grow with the batch and shrink with the number of
classes: at two classes and 32 rows they are about as large as the rest, at 128 rows ten times larger;
`relation_mean` divides them by B^2. Weights and temperature are the code's for CIFAR-100.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from kdbench.core.options import Options, option
from kdbench.core.spec import RunSpec
from kdbench.distill.losses import cross_entropy, exact_product, kl, standardize
from kdbench.distill.method import NEEDS_CLASSES, Distillation
from kdbench.methods.kd import standardize_problem
from kdbench.models.reference import Shape

if TYPE_CHECKING:
    from torch import Tensor

    from kdbench.data.batches import Batch

FIRST_VIEW, BOTH_VIEWS = (2.0, 6.0), (3.0, 5.0)  # temperatures beside tau; those of which view in the code


class MLKDOptions(Options):
    ce_weight: float = option(0.1, "weight of the labels in each of the two views", source="MLKD, CIFAR", ge=0)
    kd_weight: float = option(0.9, "weight of the distillation terms", source="MLKD, CIFAR; ImageNet: 0.5", ge=0)
    temperature: float = option(4.0, "one of five temperatures", source="MLKD, CIFAR; ImageNet: 1", gt=0)
    views: Literal["same", "dropout"] = option(
        "same", "the second view: the first again, or a second pass with other dropout", source="ours; code: images"
    )
    relation_weight: float = option(1.0, "further weight of the relations of rows and of classes", source="code", ge=0)
    relation_mean: bool = option(False, "divide the relations by B^2", source="ours; code: no")
    standardize: bool = option(False, "z-score the logits of both networks in KD", source="LSKD")


class MLKD(Distillation):
    """Match the frozen teacher's probabilities, and their relations within the batch."""

    title = "MLKD"
    paper = "Jin et al., 2023"
    group = "logits"
    no_regression = NEEDS_CLASSES
    couples_rows = True
    position = 23
    version = 2  # its losses are float32 in bf16 runs too
    options_type = MLKDOptions
    options: MLKDOptions
    limits = {"labels_only": {"ce_weight": 0.5, "kd_weight": 0.0}, "teacher_only": {"ce_weight": 0.0}}
    variants = {
        "mlkd_lgtm": (
            "MLKD (weights of LGTM Eq. 1)",
            {"ce_weight": 0.3, "kd_weight": 0.4, "temperature": 1.0, "relation_mean": True},
        )
    }

    @classmethod
    def check_compatible(cls, spec: RunSpec, student: Shape, others: Mapping[str, Shape], classes: int) -> str:
        return standardize_problem(spec, classes)

    def loss(self, batch: Batch) -> Tensor:
        t, s = self.teacher.logits(batch), self.student.logits(batch)
        other = s if self.options.views == "same" else self.student.logits(batch)
        return self.objective(batch.labels, (t, s), (t, other))

    def objective(self, labels: Tensor, view: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> Tensor:
        """Compute L_S from the logits [B, C] of teacher and student in both views."""
        o, (t, s) = self.options, view
        tau, certainty = o.temperature, t.softmax(1)
        row_share, class_share = _share_below_median(certainty.amax(1)), _share_below_median(certainty.sum(0))
        # each row alone
        every = (tau, *BOTH_VIEWS, *FIRST_VIEW)
        rows = row_share * self._match(t, s, every) + self._match(*other, (tau, *BOTH_VIEWS))
        rows = rows + self._match(t, s, FIRST_VIEW)
        # rows with rows, and classes with classes
        pairs = [tuple((z / temperature).softmax(1) for z in view) for temperature in every]
        scale = o.relation_weight / (len(t) ** 2 if o.relation_mean else 1)
        batch = row_share * sum(batch_relation(*pair) for pair in pairs)
        classes = class_share * sum(class_relation(*pair) for pair in pairs)
        ce = cross_entropy(labels, s) + cross_entropy(labels, other[1])
        return o.ce_weight * ce + o.kd_weight * (rows + scale * (batch + classes))

    def _match(self, t: Tensor, s: Tensor, temperatures: tuple[float, ...]) -> Tensor:
        """Compute KD from logits [B, C], summed over temperatures."""
        if self.options.standardize:
            t, s = standardize(t), standardize(s)
        total: Tensor = sum(tau**2 * kl(t, s, tau) for tau in temperatures)  # type: ignore[assignment]
        return total


def batch_relation(target: Tensor, probabilities: Tensor) -> Tensor:
    """Compute |P_t P_t' - P_s P_s'|^2 / B from probabilities [B, C]."""
    difference = exact_product(target, target.T) - exact_product(probabilities, probabilities.T)
    return difference.square().sum() / len(target)


def class_relation(target: Tensor, probabilities: Tensor) -> Tensor:
    """Compute |P_t' P_t - P_s' P_s|^2 / C from probabilities [B, C]."""
    difference = exact_product(target.T, target) - exact_product(probabilities.T, probabilities)
    return difference.square().sum() / target.shape[1]


def _share_below_median(values: Tensor) -> Tensor:
    """Return the share of values [N] that are at most their median, the mean of the middle two."""
    ordered = values.sort().values
    median = (ordered[(len(values) - 1) // 2] + ordered[len(values) // 2]) / 2
    return (values <= median).to(values.dtype).mean()
