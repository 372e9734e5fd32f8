"""Read which rates a tuning has chosen."""

from __future__ import annotations

from pathlib import Path

from kdbench.results.selection import select_row
from kdbench.results.store import Store
from kdbench.results.study import studies


def chosen_rates(*folders: Path) -> dict[str, dict[str, float]]:
    """Return task -> row -> the student's rate that is best on the selection split; only of tasks that are complete.

    A task is complete when every run that was asked for is done, so that all methods have had the same budget.

    Args:
        folders: of runs or collected; later ones take precedence, and those that are not there count as empty.
    """
    found: dict[str, dict[str, float]] = {}
    for study in (study for folder in folders if folder.is_dir() for study in studies(Store(folder, create=False))):
        for task in study.tasks:
            if all(cell.is_scored for cell in study.cells if cell.cell.task == task):
                shown = {row: select_row(study, row).shown[task] for row in study.rows}
                found[task] = {row: float(cells[0].settings["student_lr"]) for row, cells in shown.items() if cells}
    return found
