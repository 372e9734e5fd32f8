"""Compare a row with the best answer that is the same for every item, which takes no learning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kdbench.data.metrics import ScoreCounts
from kdbench.data.task import Task
from kdbench.results.comparison import (
    MeanMetric,
    answers_difference,
    cell_scores,
    check_scored_alike,
    same_items,
    split_predictions,
)
from kdbench.results.significance import FEWEST, RESAMPLES, Difference, Floats
from kdbench.results.study import CellResult

# Shares of n items differ by 1 / sqrt(n) at most for want of items alone. F1 and correlations of rare classes, and the
# seeds, may add much more, so that rows that are this far above are tested too, though less finely.
FAR = 4.0


@dataclass(frozen=True)
class ConstantAnswer:
    """The class that scores highest when every reported item gets it.

    Args:
        label: the class.
        scores: of each metric and split, in the order of `Task.numbers`, in per cent.
    """

    label: int
    scores: tuple[float, ...]


def best_constant(task: Task, cells: Sequence[CellResult]) -> ConstantAnswer:
    """Find the class with the highest mean of the task's metrics on the items that the cells were scored on.

    Raises:
        UserError: a run kept no predictions, was scored on other items than the others, or by other code than today's.
    """
    found = []
    for split in task.report_splits:
        labels = same_items(split, cells)
        if task.has_own_score:
            check_scored_alike(task, split, cells, _scores_now(task, split, labels, cells))
        actual = np.bincount(labels, minlength=len(task.labels)).astype(np.float64)
        scores = [task.score_classes(_constant_counts(actual, label)) for label in range(len(task.labels))]
        found += [[100 * float(one[metric]) for one in scores] for metric in task.metrics]
    label = int(np.mean(found, axis=0).argmax())
    return ConstantAnswer(label, tuple(scores[label] for scores in found))


def _scores_now(task: Task, split: str, labels: Any, cells: Sequence[CellResult]) -> Floats:
    """Return the mean of the metrics, as the task's code computes them now, of each cell's predictions on a split."""
    counts = np.zeros((len(cells), len(task.labels), len(task.labels)))
    for matrix, cell in zip(counts, cells, strict=True):
        np.add.at(matrix, (labels, split_predictions(cell, split).classes.astype(np.intp)), 1)
    return MeanMetric(task)(ScoreCounts.of(counts))


def _constant_counts(actual: Floats, label: int) -> ScoreCounts:
    """Count the items [C] as if every one got this class: those of the class are hits, and it claims all."""
    here = np.eye(len(actual))[label]
    return ScoreCounts(actual * here, actual, actual.sum() * here, lambda: np.outer(actual, here))


def compare_with_constant(task: Task, cells: Sequence[CellResult], constant: ConstantAnswer) -> Difference:
    """Return a row's mean score minus that of one class for every item, in per cent, with its error.

    Where every seed is far above, few resamples do.

    Raises:
        UserError: a run kept no predictions, or was scored on other items than the others.
    """
    labels = {split: same_items(split, cells) for split in task.report_splits}
    items = min(map(len, labels.values()))
    is_far = cell_scores(task, cells).min() - np.mean(constant.scores) > 100 * FAR / math.sqrt(items)
    answers: list[Any] = [  # true, then predicted classes
        (
            true,
            np.stack([split_predictions(cell, split).classes for cell in cells]),
            np.full((1, len(true)), constant.label),
        )
        for split, true in labels.items()
    ]
    most = FEWEST if is_far else RESAMPLES
    return answers_difference(MeanMetric(task), answers, len(task.labels), most)
