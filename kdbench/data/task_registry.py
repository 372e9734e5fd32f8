"""The registry of tasks."""

from __future__ import annotations

from kdbench.core.registry import Registry
from kdbench.data.task import Task

TASKS: Registry[Task] = Registry("task", "kdbench.tasks", Task, "tasks")  # type: ignore[type-abstract]


def selection_title(task: str) -> str:
    """Return the title of a task's selection metric, such as `selection F1`; "selection" for a missing task."""
    return TASKS.get(task).selection_title() if task in TASKS.all() else "selection"
