"""The notes on runs that a table or figure lacks, and the commands that train them."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from kdbench.core.formatting import count
from kdbench.core.plugin_files import CHANGED
from kdbench.data.task_registry import TASKS
from kdbench.distill.method_registry import has_enough_classes, methods_of_group
from kdbench.planning import reproduce
from kdbench.planning.exhibits import Exhibit
from kdbench.reporting.printing import status_word
from kdbench.reporting.tables import Detail
from kdbench.results.selection import SelectedRow
from kdbench.results.study import DAMAGED, TEACHER, CellResult, StudyResults, task_title

MAX_UNFINISHED = 6  # rows whose missing runs are listed one by one


def unfinished_notes(study: StudyResults, lines: Sequence[SelectedRow]) -> list[str]:
    """List the unfinished runs of the rows, the cells for which no run was asked, and runs of earlier versions."""
    # runs that were asked for
    found = [f"{line.title}: {text}" for line in lines if (text := _unfinished(study, line))]
    rest = len(found) - MAX_UNFINISHED
    more = f"; and {count(rest, 'row')} more (kdbench status)" if rest > 0 else ""
    notes = [f"Not finished: {'; '.join(found[:MAX_UNFINISHED])}{more}."] if found else []
    # cells that no run was asked for, on tasks with enough classes for the row's method
    unasked = []
    for line in lines:
        tasks = _unasked_tasks(study, line)
        unasked += [f"{line.title} on {', '.join(map(task_title, tasks))}"] if tasks else []
    notes += [f"Not asked for: {'; '.join(unasked)}."] if unasked else []
    return [*notes, *version_notes(lines)]


def version_notes(lines: Sequence[SelectedRow]) -> list[str]:
    """Name seeds that are left out because no row mixes versions of a method, and files that have changed since."""
    lost = {
        line.title: [task for task, cells in line.older.items() if _seeds(cells) - _seeds(line.asked[task])]
        for line in lines
    }
    older = [f"{title} on {', '.join(map(task_title, tasks))}" for title, tasks in lost.items() if tasks]
    told = f"Left out, as trained by an earlier version of a method or of its file: {'; '.join(older)}."
    files = {file for line in lines for cell in line.cells if (file := cell.run.spec.method_file)}
    changed = sorted(file.subject for file in files if Path(file.path).is_absolute() and file.find_change() == CHANGED)
    return [
        *([told] if older else []),
        *(f"{subject} has changed since these runs were trained; kdbench run trains them anew." for subject in changed),
    ]


def _seeds(cells: Sequence[CellResult]) -> set[int]:
    return {cell.cell.seed for cell in cells}


def missing_runs_commands(exhibit: Exhibit, study: StudyResults, lines: Sequence[SelectedRow]) -> list[str]:
    """Return notes with the commands that train the missing runs of a table or figure like the existing ones.

    Rows that the exhibit does not ask for, which a study has beside them, get commands of their own.
    """
    lacking: dict[str, set[str]] = {}  # tasks by row, which several lines may show with other settings
    for line in lines:
        unfinished = {task for task, cells in line.asked.items() if any(cell.run.result is None for cell in cells)}
        lacking.setdefault(line.row, set()).update(unfinished, _unasked_tasks(study, line))
    names = reproduce.asked_rows([exhibit])
    trained = {row for name in names for row in methods_of_group(name) or [name]}
    # rows with settings of their own are trained by the exhibit's command alone, also where other rows were left out
    if any(request.varies for request in exhibit.requests):
        trained = {row for row in trained if study.takes(row)}
    # the exhibit's own command trains all of its rows, more than a study of some of them asked for
    asked = lacking.keys() & {TEACHER, *trained} if trained <= lacking.keys() else set[str]()
    tasks = dict.fromkeys(task for line in lines for task in line.asked)
    own = [task for task in tasks if any(task in lacking[row] for row in asked)]
    commands = reproduce.exhibit_commands([exhibit], study.root, study, tasks=own) if own else []
    for task in tasks:
        if rows := [row for row in lacking if row not in {*asked, TEACHER} and task in lacking[row]]:
            commands.append([*reproduce.rows_command(study, rows, task), *reproduce.results_argument(study.root)])
    other = ", with a network as teacher" if reproduce.needs_network([exhibit], study) else ""
    return [Detail(f"To train what is missing{other}: {shlex.join(command)}") for command in commands]


def _unasked_tasks(study: StudyResults, line: SelectedRow) -> list[str]:
    """Return the tasks without a cell, of those with enough classes for the row's method, unless it was left out."""
    empty = [task for task, cells in line.asked.items() if not cells and (line.row, task) not in study.left_out]
    return [task for task in empty if has_enough_classes(line.row, len(TASKS.get(task).labels))]


def _unfinished(study: StudyResults, line: SelectedRow) -> str:
    """Count the unfinished runs of a row by task and reason; "" where all are finished."""
    parts = []
    for task, cells in line.asked.items():
        missing = Counter(_why(study, c) for c in cells if c.run.result is None)
        if missing:
            whys = ", ".join(f"{n} {why}" for why, n in missing.items())
            parts.append(f"{task_title(task)} {sum(missing.values())} of {count(len(cells), 'run')} ({whys})")
    return ", ".join(parts)


def _why(study: StudyResults, cell: CellResult) -> str:
    """Say why a run has no result: failed, damaged, blocked, or its status."""
    state = cell.run.state
    if state.status == "failed":
        return f"failed: {state.kind}" if state.kind else "failed"
    if state.kind == DAMAGED:
        return "damaged, to be trained again"
    return "blocked" if study.blocker(cell.run) else status_word(state.status)
