"""Accuracy and F1 of GLUE, computed by a metric of the `evaluate` library without any network."""

from __future__ import annotations

import functools
import os
import tempfile
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Classes = NDArray[np.int64]  # shape [rows], class indices
    Floats = NDArray[np.float64]

_NAMES = ("accuracy", "f1")


def score(names: Sequence[str], predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
    """The named metrics ("accuracy", "f1"), as fractions between 0 and 1.

    F1 is the one of class 1; it is 0 when no row is a true positive.

    Raises:
        ValueError: a name is unknown, there are no rows, the lengths differ, or a reference is unlabelled (-1).
    """
    if unknown := sorted(set(names) - set(_NAMES)):
        raise ValueError(f"Unknown metric '{unknown[0]}'; valid: {', '.join(_NAMES)}.")
    if len(predictions) != len(references):
        raise ValueError(f"Got {len(predictions)} predictions for {len(references)} references; they must pair up.")
    if len(references) == 0:
        raise ValueError("There is nothing to score: the split holds no rows.")
    if min(references) < 0:
        raise ValueError("Some references are unlabelled (-1); only labelled splits can be scored.")
    values = _metric(os.getpid()).compute(predictions=predictions, references=references)
    return {name: float(values[name]) for name in names}


def score_counts(names: Sequence[str], counts: Floats) -> dict[str, Floats]:
    """The same, of many confusion matrices [..., true class, predicted class] at once."""
    return {name: _FROM_COUNTS[name](counts) for name in names}


def _accuracy_of(counts: Floats) -> Floats:
    hits: Floats = counts.trace(axis1=-2, axis2=-1) / counts.sum((-1, -2))
    return hits


def _f1_of(counts: Floats) -> Floats:
    import numpy as np

    claimed_and_actual = counts[..., :, 1].sum(-1) + counts[..., 1, :].sum(-1)
    f1: Floats = 2 * counts[..., 1, 1] / np.maximum(claimed_and_actual, 1)
    return f1


_FROM_COUNTS = dict(zip(_NAMES, (_accuracy_of, _f1_of), strict=True))


@functools.cache
def _metric(process: int) -> Any:
    """The process's metric object; a forked child makes its own, because the object keeps files open."""
    # The library asks the hub for nothing here, and with the switch it would refuse to.
    os.environ.setdefault("HF_EVALUATE_OFFLINE", "1")
    import datasets
    import evaluate

    class GlueMetric(evaluate.Metric):  # type: ignore[misc]  # the library is untyped
        """Accuracy, and F1 of class 1."""

        def __init__(self) -> None:
            # The library writes rows and a lock below `cache_dir`: a folder of its own for every process keeps
            # concurrent jobs apart and vanishes at exit.
            self._folder = tempfile.TemporaryDirectory(prefix="kdbench-metric-")
            super().__init__(cache_dir=self._folder.name, experiment_id=uuid.uuid4().hex, keep_in_memory=True)

        def _info(self) -> Any:
            value = datasets.Value("int64")
            return evaluate.MetricInfo(
                description="Accuracy, and F1 of class 1.",
                citation="",
                inputs_description="Class indices.",
                features=datasets.Features({"predictions": value, "references": value}),
            )

        def _compute(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
            import numpy as np

            predicted, true = np.asarray(predictions), np.asarray(references)
            return {"accuracy": float(np.mean(predicted == true)), "f1": _f1(predicted, true)}

    return GlueMetric()


def _f1(predicted: Classes, true: Classes) -> float:
    hits = int(((predicted == 1) & (true == 1)).sum())
    claimed_and_actual = int((predicted == 1).sum()) + int((true == 1).sum())
    return 2 * hits / claimed_and_actual if claimed_and_actual else 0.0
