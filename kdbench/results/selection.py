"""Select the cells that a row of a table shows, task by task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from kdbench.data.task_registry import TASKS
from kdbench.results.study import METHOD_FILE, CellResult, StudyResults


def newest_version(cells: Iterable[CellResult]) -> list[CellResult]:
    """Return the cells of the newest version of a row's method; give those of all tasks, so that tasks do not differ.

    Where the code of a file is the version, the newest is the one asked for last. Files of needed runs' methods are
    compared only where both cells have one.
    """
    cells = list(cells)
    version = max((c.run.spec.method_version for c in cells), default=0)
    kept = [c for c in cells if c.run.spec.method_version == version]
    newest = max(kept, key=lambda c: c.asked).files if kept else {}
    return [
        c for c in kept
        if c.files.get(METHOD_FILE) == newest.get(METHOD_FILE)
        and all(c.files[key] == newest[key] for key in c.files.keys() & newest.keys())
    ]  # fmt: skip


def best_grid_point(cells: Iterable[CellResult], metric: str) -> list[CellResult]:
    """Return the finished cells of the grid point that a table shows, one a seed, sorted by seed.

    The grid point has the most finished seeds and, among these, the best mean on the selection split.
    """
    points: dict[str, dict[int, CellResult]] = {}
    for cell in newest_version(cells):
        if cell.is_scored:
            points.setdefault(cell.point, {})[cell.cell.seed] = cell
    if not points:
        return []
    best = next(iter(points.values()))
    if len(points) > 1:  # a file of outputs, which has one, may lack the rows of the selection split
        best = max(points.values(), key=lambda p: (len(p), sum(c.selection(metric) for c in p.values()) / len(p)))
    return [best[seed] for seed in sorted(best)]


@dataclass(frozen=True)
class SelectedRow:
    """A row of a table.

    Attributes:
        asked: task -> the cells that were asked for, of the newest version of the row's method.
        shown: task -> the cells that are shown, one a seed.
        older: task -> the finished cells of earlier versions.
    """

    row: str
    title: str
    asked: Mapping[str, list[CellResult]]
    shown: Mapping[str, list[CellResult]]
    older: Mapping[str, list[CellResult]] = field(default_factory=dict)

    @property
    def cells(self) -> list[CellResult]:
        """Return the cells that are shown, of all tasks."""
        return [cell for cells in self.shown.values() for cell in cells]

    @property
    def asked_cells(self) -> list[CellResult]:
        """Return the cells that were asked for, of all tasks."""
        return [cell for cells in self.asked.values() for cell in cells]

    def on(self, tasks: Iterable[str]) -> SelectedRow:
        """Return the row with these tasks and no other."""
        names = list(tasks)
        asked, shown = ({task: cells.get(task, []) for task in names} for cells in (self.asked, self.shown))
        return replace(self, asked=asked, shown=shown, older={t: c for t, c in self.older.items() if t in names})

    def feedback_from(self, split: str) -> bool:
        """Return whether a run of the row learned from feedback on `split`."""
        return any(c.run.spec.feedback == split for c in self.asked_cells)

    @property
    def saw_report(self) -> bool:
        """Return whether a run of the row learned from feedback on a split that is reported."""
        leaking = [cells for task, cells in self.asked.items() if not TASKS.get(task).validation_split]
        return any(c.run.spec.feedback == "validation" for cells in leaking for c in cells)


def select_row(
    study: StudyResults, row: str, values: Mapping[str, Any] = MappingProxyType({}), title: str | None = None
) -> SelectedRow:
    """Select the grid point of each task for a row.

    Args:
        values: use only cells with these settings; cells that other tables and figures vary are left out.
        title: of the row, if it is not the method's.
    """
    whole = study.whole or study  # a part of a study shows the version that the study shows
    every = {task: [c for c in whole.of(row, task) if c.has(values)] for task in whole.tasks}
    newest = {id(cell) for cell in newest_version(cell for cells in every.values() for cell in cells)}
    every = {task: every[task] for task in study.tasks}
    asked = {task: [cell for cell in cells if id(cell) in newest] for task, cells in every.items()}
    shown = {task: best_grid_point(cells, TASKS.get(task).metrics[0]) for task, cells in asked.items()}
    older = {task: [c for c in cells if id(c) not in newest and c.run.result] for task, cells in every.items()}
    return SelectedRow(row, title or study.title(row), asked, shown, {t: cells for t, cells in older.items() if cells})
