"""Check the scores that a task in Python computes itself, before training and at every evaluation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kdbench.core.errors import UserError

if TYPE_CHECKING:
    from kdbench.data.task import Task, TaskData

ROUNDING = 1e-6
WANTED = "numbers of which 1 is the best, such as 1 - error"


def check_own_scores(task: Task, data: TaskData) -> None:
    """Score right and wrong answers to the reported rows, where a task has scores of its own.

    Raises:
        UserError: a metric is missing, not finite or above 1, or right answers do not score highest.
    """
    for split in task.report_splits if task.has_own_score else ():
        true = list(data.splits[split].labels)
        right = own_scores(task, true, true)
        others: list[list[Any]] = [true[::-1]]
        if task.kind == "classification":  # a student may predict one class for every row
            others += [[label] * len(true) for label in range(len(task.labels))]
        for answers in others:
            found = own_scores(task, answers, true)
            if worse := [name for name in task.metrics if found[name] > right[name] + ROUNDING]:
                name = worse[0]
                raise UserError(
                    f"Task '{task.name}' scores wrong answers to {split} higher than right ones ({name} "
                    f"{found[name]:.4g} and {right[name]:.4g}), and the highest score is taken as the best; return "
                    f"{WANTED}."
                )


def own_scores(task: Task, predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """Return the task's metrics of predictions.

    Raises:
        UserError: the task does not compute one of its metrics, or it is not finite or above 1.
    """
    try:
        found = dict(task.score(predictions, references))
    except (ArithmeticError, ValueError) as error:
        some = len(set(predictions))
        raise UserError(
            f"Task '{task.name}' cannot score {len(predictions)} rows of which {some} different answers are predicted "
            f"({type(error).__name__}: {error}); return a number for any predictions."
        ) from error
    if lacking := [name for name in task.metrics if name not in found]:
        raise UserError(
            f"Task '{task.name}' has the metric '{lacking[0]}' and its score computes {', '.join(found) or 'none'}; "
            "give both the same names."
        )
    values = {name: float(found[name]) for name in task.metrics}
    for name, value in values.items():
        if not (math.isfinite(value) and value <= 1 + ROUNDING):
            raise UserError(f"Task '{task.name}' scores {name}={value:.4g}; return {WANTED}.")
    return values
