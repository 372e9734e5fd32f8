"""Take a part of a study: some rows, some tasks. What is computed from the part is that of these alone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from kdbench.results.study import Run, StudyResults, closure


def part_of_study(
    study: StudyResults, rows: Collection[str] | None, tasks: Collection[str] | None
) -> StudyResults | None:
    """Return the cells of these rows and tasks as a study; None where there are none.

    The fine-tuned teachers of the tasks stay, as what the rows are measured by, and so do titles, which line styles
    depend on.

    Args:
        rows: names of rows; None for all.
        tasks: names of tasks; None for all.
    """
    cells = [
        cell for cell in study.cells
        if (rows is None or cell.cell.row in rows) and (tasks is None or cell.cell.task in tasks)
    ]  # fmt: skip
    if not cells:
        return None
    kept = {cell.cell.task for cell in cells}
    runs: dict[str, Run] = {}
    for cell in (*cells, *(cell for cell in study.teachers if cell.cell.task in kept)):
        runs |= closure(cell.run.id, study.runs)
    return replace(study, cells=cells, runs=runs, whole=study, chosen=frozenset(rows or ()))
