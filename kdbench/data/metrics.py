"""Metrics of tasks: of classes as a metric of the `evaluate` library that needs no network, of numbers as correlations.

Every metric of classes is a function of `ScoreCounts`, used for a run's score and for the resampled scores behind a
table's significance marks. All equal scikit-learn's functions of the same names. A task of one output is a
regression, whose metrics are those of `kdbench.data.correlations`.

    accuracy            share of rows with the right class
    f1                  F1 of class 1 where there are two classes (as in GLUE), `macro_f1` where there are more
    macro_f1            mean F1 over the classes that occur among labels or predictions
    f1:LABEL            F1 of one class, named by its label word
    matthews            Matthews correlation coefficient, for any number of classes (as in GLUE's CoLA)
    balanced_accuracy   mean recall over the classes that occur among the labels
    pearson, spearman   correlation of predicted and true numbers (as in GLUE's STS-B); 0 where one is not defined
"""

from __future__ import annotations

import functools
import os
import tempfile
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kdbench.core.lazy_torch import LazyModule

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
else:
    np = LazyModule("numpy")

CORRELATIONS = ("pearson", "spearman")  # functions of `correlations`
SIGNED = ("matthews", *CORRELATIONS)  # metrics from -1 to 1; a constant answer has 0
OF_CLASS = "f1:"  # before the label word of a class


def resolve(names: Sequence[str], labels: Sequence[str]) -> tuple[str, ...]:
    """Return the names by which the metrics of a task are stored: `f1` of more than two classes is `macro_f1`.

    Args:
        labels: the names of the classes; one name means a regression.

    Raises:
        ValueError: a name is unknown, or names a class that is none of `labels`.
    """
    if len(labels) == 1:
        if other := [name for name in names if name not in CORRELATIONS]:
            raise ValueError(f"'{other[0]}' is no metric of a regression; valid: {', '.join(CORRELATIONS)}.")
        return tuple(names)
    for name in names:
        if name.startswith(OF_CLASS):
            if name.removeprefix(OF_CLASS) not in labels:
                raise ValueError(f"'{name}' names no class; the classes are {', '.join(labels)}.")
        elif name not in _FROM_COUNTS:
            raise ValueError(f"Unknown metric '{name}'; valid: {', '.join(_FROM_COUNTS)}, {OF_CLASS}LABEL.")
    return tuple("macro_f1" if name == "f1" and len(labels) > 2 else name for name in names)


def score(
    names: Sequence[str], predictions: Sequence[float], references: Sequence[float], labels: Sequence[str] = ()
) -> dict[str, float]:
    """Compute the named metrics: fractions between 0 and 1 (those of `SIGNED` between -1 and 1).

    Where a metric divides by zero, as F1 does without a true positive, it is 0.

    Args:
        predictions, references: class indices [n]; of a regression, numbers.
        labels: the label words in class order, one for a regression; without them, the classes are those that occur,
            and two at least.

    Raises:
        ValueError: a name is unknown, there are no rows, the lengths differ, a reference is unlabelled (-1), or a
            class index is none of the labels.
    """
    if len(predictions) != len(references):
        raise ValueError(f"Got {len(predictions)} predictions for {len(references)} references; they must pair up.")
    if len(references) == 0:
        raise ValueError("There is nothing to score: the split holds no rows.")
    if len(labels) == 1:
        return _score_numbers(names, predictions, references, labels)
    if min(references) < 0:
        raise ValueError("Some references are unlabelled (-1); only labelled splits can be scored.")
    highest = int(max(max(predictions), max(references)))
    words = list(labels) or [str(index) for index in range(max(highest + 1, 2))]
    resolve(names, words)
    if highest >= len(words) or min(predictions) < 0:
        raise ValueError(f"A class index is not between 0 and {len(words) - 1}, as the labels are.")
    values = _metric(os.getpid()).compute(predictions=predictions, references=references, names=names, labels=words)
    return {name: float(values[name]) for name in names}


def _score_numbers(
    names: Sequence[str], predictions: Sequence[float], references: Sequence[float], labels: Sequence[str]
) -> dict[str, float]:
    predicted, true = np.asarray(predictions, np.float64), np.asarray(references, np.float64)
    if not np.isfinite(true).all():
        raise ValueError("Some references are no finite numbers; only labelled splits can be scored.")
    values = score_weights(names, np.ones((1, len(true))), predicted[None], true, labels)
    return {name: float(found[0, 0]) for name, found in values.items()}


def score_weights(
    names: Sequence[str], weights: Floats, predicted: Floats, true: Floats, labels: Sequence[str]
) -> dict[str, Floats]:
    """Compute the named metrics [R, K] of a regression; see `correlations.pearson` for the arguments."""
    from kdbench.data import correlations

    compute: dict[str, Callable[[Floats, Floats, Floats], Floats]] = {
        name: getattr(correlations, name) for name in resolve(names, labels)
    }
    return {name: correlation(weights, predicted, true) for name, correlation in compute.items()}


@dataclass(frozen=True)
class ScoreCounts:
    """Counts of the items of each class, of many sets of items at once.

    Every metric of this file is computed from them; a metric of somebody else's may need whole confusion matrices.

    Attributes:
        hits: items of a class that get it [..., C].
        actual: items of a class [..., C].
        claimed: items that get a class [..., C].
        confusion: builds the matrices [..., true class, predicted class].
    """

    hits: Floats
    actual: Floats
    claimed: Floats
    confusion: Callable[[], Floats]

    @classmethod
    def of(cls, matrices: Floats) -> ScoreCounts:
        """Count from confusion matrices [..., true class, predicted class]."""
        hits = np.diagonal(matrices, axis1=-2, axis2=-1)
        return cls(hits, matrices.sum(-1), matrices.sum(-2), lambda: matrices)


def score_counts(names: Sequence[str], counts: Floats, labels: Sequence[str] = ()) -> dict[str, Floats]:
    """Compute the named metrics [...] of many confusion matrices [..., true class, predicted class] at once."""
    return score_classes(names, ScoreCounts.of(counts), labels)


def score_classes(names: Sequence[str], counts: ScoreCounts, labels: Sequence[str] = ()) -> dict[str, Floats]:
    """Compute the named metrics [...] from the counts of the classes."""
    words = list(labels) or [str(index) for index in range(counts.hits.shape[-1])]
    own = dict(zip(names, resolve(names, words), strict=True))
    return {name: _one(stored, counts, words) for name, stored in own.items()}


def answers(logits: Any) -> Any:
    """Return the predicted classes [n] of logits [n, C], tensor or array; of a regression's one output, the numbers."""
    return logits[:, 0] if logits.shape[1] == 1 else logits.argmax(1)


def _one(name: str, counts: ScoreCounts, labels: Sequence[str]) -> Floats:
    if name.startswith(OF_CLASS):
        return _f1_of(counts, labels.index(name.removeprefix(OF_CLASS)))
    return _FROM_COUNTS[name](counts)


def accuracy(counts: ScoreCounts) -> Floats:
    """Return the share of items that get their own class."""
    share: Floats = counts.hits.sum(-1) / counts.actual.sum(-1)
    return share


def _f1_of(counts: ScoreCounts, index: int) -> Floats:
    claimed_and_actual = counts.claimed[..., index] + counts.actual[..., index]
    f1: Floats = 2 * counts.hits[..., index] / np.maximum(claimed_and_actual, 1)
    return f1


def _macro_f1(counts: ScoreCounts) -> Floats:
    claimed_and_actual = counts.claimed + counts.actual
    f1 = 2 * counts.hits / np.maximum(claimed_and_actual, 1)
    macro: Floats = f1.sum(-1) / (claimed_and_actual > 0).sum(-1)
    return macro


def _balanced_accuracy(counts: ScoreCounts) -> Floats:
    recall: Floats = (counts.hits / np.maximum(counts.actual, 1)).sum(-1) / (counts.actual > 0).sum(-1)
    return recall


def _matthews(counts: ScoreCounts) -> Floats:
    """Compute R_K of Gorodkin (2004), for two classes Matthews' correlation coefficient."""
    actual, claimed, rows = counts.actual, counts.claimed, counts.actual.sum(-1)
    covariance = rows * counts.hits.sum(-1) - (actual * claimed).sum(-1)
    spread = (rows**2 - (actual**2).sum(-1)) * (rows**2 - (claimed**2).sum(-1))
    known = spread > 0
    coefficient: Floats = np.where(known, covariance / np.sqrt(np.where(known, spread, 1)), 0.0)
    return coefficient


_FROM_COUNTS: dict[str, Callable[[ScoreCounts], Floats]] = {
    "accuracy": accuracy,
    "f1": functools.partial(_f1_of, index=1),
    "macro_f1": _macro_f1,
    "matthews": _matthews,
    "balanced_accuracy": _balanced_accuracy,
}


@functools.cache
def _metric(process: int) -> Any:
    """Return the process's metric object; a forked child makes its own, because the object keeps files open."""
    # the metric needs nothing from the hub
    os.environ.setdefault("HF_EVALUATE_OFFLINE", "1")
    import datasets
    import evaluate

    class Classification(evaluate.Metric):  # type: ignore[misc]  # the library is untyped
        """The metrics of this file, by their names."""

        def __init__(self) -> None:
            # the library writes rows and a lock below `cache_dir`; a temporary folder per process separates jobs
            self._folder = tempfile.TemporaryDirectory(prefix="kdbench-metric-")
            super().__init__(cache_dir=self._folder.name, experiment_id=uuid.uuid4().hex, keep_in_memory=True)

        def _info(self) -> Any:
            value = datasets.Value("int64")
            return evaluate.MetricInfo(
                description="Metrics of classification, from the confusion matrix.",
                citation="",
                inputs_description="Class indices.",
                features=datasets.Features({"predictions": value, "references": value}),
            )

        def _compute(
            self, predictions: Sequence[int], references: Sequence[int], names: Sequence[str], labels: Sequence[str]
        ) -> dict[str, Floats]:
            return score_counts(names, confusion(predictions, references, len(labels)), labels)

    return Classification()


def confusion(predictions: Sequence[int], references: Sequence[int], classes: int) -> Floats:
    """Count the rows [true class, predicted class] of class indices [n]."""
    cells = np.asarray(references, np.int64) * classes + np.asarray(predictions, np.int64)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes).astype(np.float64)
