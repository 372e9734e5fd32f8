"""Notes about what else than the method differs between rows: options, rows of train held out, and rows seen before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kdbench.core.formatting import count, value
from kdbench.planning.config import installed_options
from kdbench.results.selection import SelectedRow
from kdbench.results.study import CellResult, StudyResults, task_title

MOST_GROUPS = 3  # of tasks whose numbers are said; of more, the first


def option_notes(study: StudyResults, lines: Sequence[SelectedRow]) -> list[str]:
    """List the method options that differ from their defaults in the rows shown.

    Options of a grid, whose values another note lists, and options that a table varies on purpose are left out.
    """
    by_preset, by_hand = dict[str, list[str]](), dict[str, list[str]]()  # options -> the rows that have them
    for line in lines:
        default = _defaults(study, line.row)
        changed = {k: v for k, v in _chosen(line).items() if k in default and v != [default[k]]}
        usual = study.titles[line.row].usual if line.row in study.titles else {}
        preset = {k for k, values in changed.items() if k in usual and values == [usual[k]]}
        for keys, found in ((preset, by_preset), (changed.keys() - preset, by_hand)):
            if words := ", ".join(f"{k}={'/'.join(map(value, v))}" for k, v in changed.items() if k in keys):
                found.setdefault(words, []).append(line.title)
    told = ["; ".join(f"{', '.join(rows)} {words}" for words, rows in found.items()) for found in (by_preset, by_hand)]
    parts = [f"{told[0]} (preset {study.preset})"] if by_preset else []
    parts += [told[1]] if by_hand else []
    return [f"Options of methods that are not at their defaults: {'; '.join(parts)}."] if parts else []


def _defaults(study: StudyResults, row: str) -> Mapping[str, Any]:
    """Return a row's default options as stored when it was asked for, else the installed method's, else {}."""
    stored = study.titles[row].defaults if row in study.titles else {}
    return installed_options(row) if stored is None else stored


def _chosen(line: SelectedRow) -> dict[str, list[Any]]:
    """Return option -> the distinct values in the runs shown."""
    cells = line.cells
    told = {key for cell in cells for key in [*cell.cell.choice, *(k for varies in cell.varied for k in varies)]}
    keys = dict.fromkeys(key for cell in cells for key in cell.run.spec.options if key not in told)
    values = {key: [cell.run.spec.options.get(key) for cell in cells] for key in keys}
    return {key: list({str(item): item for item in items}.values()) for key, items in values.items()}


def held_out_notes(study: StudyResults, lines: Sequence[SelectedRow]) -> list[str]:
    """Say how many rows of train are left where feedback is held out, and which needed networks saw these rows."""
    learners = [line for line in lines if line.feedback_from(study.study["feedback"])]
    sizes: dict[str, dict[str, None]] = {}  # numbers -> tasks
    for task, cell in ((task, cell) for line in learners for task, cells in line.shown.items() for cell in cells):
        if words := _sizes(cell):
            sizes.setdefault(words, {})[task_title(task)] = None
    groups = list(sizes.items())
    parts = [words if len(groups) == 1 else f"{words} ({', '.join(tasks)})" for words, tasks in groups[:MOST_GROUPS]]
    rest = sum(len(tasks) for _, tasks in groups[MOST_GROUPS:])
    more = [f"as much less on {count(rest, 'other task')}"] if rest else []
    notes = [f"{', '.join(parts + more)} remain"] if parts else []
    seen = list(dict.fromkeys(f"{line.title}'s {role}" for line in learners for role in _seen(study, line)))
    return [*notes, f"{' and '.join(seen)} was trained on the feedback rows too"] if seen else notes


def _sizes(cell: CellResult) -> str:
    """Return `2,970 of 3,301 rows and 93 of 104 steps an epoch`; "" where the run stored no numbers of rows."""
    rows = (cell.run.result or {}).get("rows", {})
    train, feedback = rows.get("train", 0), rows.get("feedback", 0)
    if not train or not feedback:
        return ""
    batch = cell.run.spec.training.batch_size
    steps, others = -(-train // batch), -(-(train + feedback) // batch)
    return f"{train:,} of {train + feedback:,} rows and {steps:,} of {others:,} steps an epoch"


def _seen(study: StudyResults, line: SelectedRow) -> list[str]:
    """Return the roles of the runs that the row needs and that were trained on all of train."""
    needs = {role: need for cell in line.cells for role, need in cell.run.spec.needs.items()}
    seeing = {run for run in needs.values() if run in study.runs and not study.runs[run].spec.withheld}
    return [role for role, need in needs.items() if need in seeing and study.runs[need].spec.feedback is None]
