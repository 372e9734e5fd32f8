"""Take a part of a study: some rows, some tasks. What is computed from the part is that of these alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from kdbench.core.formatting import count
from kdbench.results.study import Run, StudyResults, closure, task_order, task_title

MOST_NAMED = 6  # names that a sentence lists; of more it has the number


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


def describe_left_out(study: StudyResults) -> str:
    """Name the rows and tasks that were left out when a part of a study was collected; "" where none were.

    What another folder, which was joined later, has of them is not left out.
    """
    cells = (study.whole or study).cells
    here = {(cell.cell.row, cell.cell.task) for cell in cells}
    rows, tasks = ({place[i] for place in here} for i in (0, 1))
    gone = study.left_out - here
    lost_rows = sorted({row for row, _ in gone} - rows, key=lambda row: (study.titles[row].position, row))
    lost_tasks = sorted({task for _, task in gone} - tasks, key=task_order)
    rest = sorted((row, task) for row, task in gone if row in rows and task in tasks)
    parts = [
        _named("row", list(map(study.title, lost_rows))),
        _named("task", list(map(task_title, lost_tasks))),
        _named("cell", [f"{study.title(row)} on {task_title(task)}" for row, task in rest]),
    ]
    return "; ".join(filter(None, parts))


def _named(what: str, names: Sequence[str]) -> str:
    """Return `2 rows (DML, LGTM)`, or the number alone of many."""
    listed = f" ({', '.join(names)})" if len(names) <= MOST_NAMED else ""
    return f"{count(len(names), what)}{listed}" if names else ""
