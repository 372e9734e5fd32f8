"""The rows of a table: which of the cells that were asked for it shows, task by task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from kdbench.data.task import TASKS
from kdbench.results.study import CellResult, StudyResults


def newest_version(cells: Iterable[CellResult]) -> list[CellResult]:
    """Without the cells that an older version of the method was asked for.

    Versions that are files have no order but that in which they were asked for.
    """
    cells = list(cells)
    version = max((c.run.spec.method_version for c in cells), default=0)
    kept = [c for c in cells if c.run.spec.method_version == version]
    files = max(kept, key=lambda c: c.asked).files if kept else {}
    return [c for c in kept if c.files == files]


def best_grid_point(cells: Iterable[CellResult], metric: str) -> list[CellResult]:
    """The finished cells of the grid point that a table shows, one a seed, by seed.

    It is the one with the most finished seeds and, among those, the best mean on the selection split.
    """
    points: dict[str, dict[int, CellResult]] = {}
    for cell in newest_version(cells):
        if cell.run.result is not None:
            points.setdefault(cell.point, {})[cell.cell.seed] = cell
    if not points:
        return []
    best = max(points.values(), key=lambda p: (len(p), sum(c.selection(metric) for c in p.values()) / len(p)))
    return [best[seed] for seed in sorted(best)]


@dataclass(frozen=True)
class SelectedRow:
    """A row of a table: by task, what was asked for and what is shown of it, one cell a seed."""

    row: str
    title: str
    asked: Mapping[str, list[CellResult]]
    shown: Mapping[str, list[CellResult]]

    def feedback_from(self, split: str) -> bool:
        return any(c.run.spec.feedback == split for cells in self.asked.values() for c in cells)


def select_row(
    study: StudyResults, row: str, values: Mapping[str, Any] = MappingProxyType({}), title: str | None = None
) -> SelectedRow:
    """The row with the grid point of each task.

    Args:
        values: only cells that have these settings; what other tables and figures vary is left out.
        title: of the row, where it is not the method's.
    """
    asked = {task: newest_version(c for c in study.of(row, task) if c.has(values)) for task in study.tasks}
    shown = {task: best_grid_point(cells, TASKS.get(task).metrics[0]) for task, cells in asked.items()}
    return SelectedRow(row, title or study.title(row), asked, shown)
