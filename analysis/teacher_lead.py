"""Say on which tasks the teacher is not shown to be better than the student fine-tuned without it."""

from __future__ import annotations

from collections.abc import Sequence

from kdbench.analysis.significance_marks import Comparisons
from kdbench.data.task import Task
from kdbench.results.selection import SelectedRow
from kdbench.results.significance import ALPHA, LEVEL, holm_correction
from kdbench.results.study import TEACHER, task_title

BASELINE = "finetune"  # the row of the student without a teacher


def teacher_lead_notes(lines: Sequence[SelectedRow], tasks: Sequence[type[Task]]) -> list[str]:
    """Name the tasks whose teacher is not separable above the fine-tuned student, so that no lead is there to close.

    Args:
        lines: the rows of a table; without the teacher's or the baseline's there is nothing to say.
    """
    by_row = {line.row: line for line in lines}
    if not {TEACHER, BASELINE} <= by_row.keys():
        return []
    comparisons = Comparisons([by_row[TEACHER], by_row[BASELINE]], tasks)
    found = {task.name: comparisons.column(0, 1, column) for column, task in enumerate(tasks)}
    known = {task: one for task, one in found.items() if one}
    corrected = holm_correction([one.p if one.value > 0 else 1.0 for one in known.values()])
    near = [task_title(task) for task, p in zip(known, corrected, strict=True) if p >= ALPHA]
    if not near:
        return []
    where = f"{by_row[BASELINE].title} on {', '.join(near)} ({LEVEL} the tasks)"
    return [f"The teacher is not separable above {where}: no lead to learn from is shown there."]
