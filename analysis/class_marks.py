"""Sign cells of methods that become another one on two classes, or that need more classes than the task has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kdbench.data.task import Task
from kdbench.distill.method_registry import METHODS
from kdbench.reporting.tables import TableData
from kdbench.results.selection import SelectedRow

SIGN = "¶"


def mark_few_classes(sheet: TableData, lines: Sequence[SelectedRow], tasks: Sequence[type[Task]]) -> list[str]:
    """Add the sign to such cells, and return one note that explains them.

    Args:
        sheet: its rows are the lines; its first columns after the label are the tasks.
    """
    said: dict[str, None] = {}
    for row, line in zip(sheet.rows, lines, strict=True):
        method = METHODS.all().get(METHODS.owner(line.row) or "")
        if method is None:
            continue
        for column, task in enumerate(tasks, start=1):
            few = len(task.labels) < method.least_classes
            if few or (method.two_classes and len(task.labels) == 2 and line.shown.get(task.name)):
                needs = f"{method.title} needs {method.least_classes} classes or more"
                row[column] = replace(row[column], sign=row[column].sign + SIGN)
                said[needs if few else method.two_classes] = None
    return [f"{SIGN} On two classes: {'; '.join(said)}."] if said else []
