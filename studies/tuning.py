"""Read which rates a tuning has chosen."""

from __future__ import annotations

from pathlib import Path

from kdbench.analysis.study_page.tuning import best_rate
from kdbench.results.read_studies import studies
from kdbench.results.selection import select_row
from kdbench.results.store import Store


def chosen_rates(*folders: Path) -> dict[str, dict[str, float]]:
    """Return task -> row -> the student's rate that is best on the selection split; only of complete tasks.

    A task is complete when every run that was asked for is done, so that all methods have had the same budget.

    Args:
        folders: of runs or collected; later ones take precedence, and those that are not there count as empty.
    """
    found: dict[str, dict[str, float]] = {}
    for study in (study for folder in folders if folder.is_dir() for study in studies(Store(folder, create=False))):
        for task in study.tasks:
            if all(cell.is_scored for cell in study.cells if cell.cell.task == task):
                best = {row: best_rate(select_row(study, row), task) for row in study.rows}
                found[task] = {row: rate for row, rate in best.items() if rate is not None}
    return found
