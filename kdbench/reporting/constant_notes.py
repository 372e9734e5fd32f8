"""Say what a table's scores are above: the best answer that is the same for every item."""

from __future__ import annotations

from collections.abc import Sequence

from kdbench.core.errors import UserError
from kdbench.data.task import Task
from kdbench.reporting.notes import rows_by_tasks
from kdbench.results.constant_answer import best_constant, compare_with_constant
from kdbench.results.selection import SelectedRow
from kdbench.results.significance import ALPHA, LEVEL, holm_correction
from kdbench.results.study import task_title


def constant_notes(lines: Sequence[SelectedRow], tasks: Sequence[type[Task]]) -> list[str]:
    """Return the score of the best constant answer on each task, and the rows that are not separable above it.

    A regression has none, because correlations with a constant are not defined. A task whose runs kept no predictions,
    or were scored on different items, is left out.
    """
    known: list[str] = []
    near: dict[str, list[str]] = {}
    for task in tasks:
        shown = [line for line in lines if line.shown.get(task.name)]
        if task.kind == "regression" or not shown:
            continue
        try:
            constant = best_constant(task(), [cell for line in shown for cell in line.shown[task.name]])
            found = [compare_with_constant(task(), line.shown[task.name], constant) for line in shown]
        except UserError:
            continue
        known.append(f"{'/'.join(f'{score:.1f}' for score in constant.scores)} ({task_title(task.name)})")
        # a row below it is as little above it as one that is equal
        p_values = [one.p if one.value > 0 else 1.0 for one in found]
        for line, p in zip(shown, holm_correction(p_values), strict=True):
            if p >= ALPHA:
                near.setdefault(line.title, []).append(task_title(task.name))
    if not known:
        return []
    rest = f" Not separable above that ({LEVEL} the rows): {'; '.join(rows_by_tasks(near))}." if near else ""
    return [f"One class for every item scores at most {', '.join(known)}.{rest}"]
