"""The table of costs: steps, passes, time and memory behind each method's numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isnan, nan
from statistics import fmean
from typing import Any

from kdbench.analysis.scores import table_heading
from kdbench.analysis.tuning_budget import SIGN
from kdbench.data.task import Task
from kdbench.data.task_registry import TASKS
from kdbench.planning.exhibits import Request
from kdbench.reporting import fairness, machines, missing_runs, notes, provenance
from kdbench.reporting.tables import EMPTY_CELL, Table, TableCell, TableData
from kdbench.results.comparison import count_trials
from kdbench.results.selection import SelectedRow, select_row
from kdbench.results.study import TEACHER, CellResult, Run, StudyResults, closure

STUDENT, OTHERS = "student", "others"
KINDS = {"forward": "fwd", "tangent": "jvp", "backward": "bwd"}
SHORT = "/".join(KINDS.values())
COLUMNS = {
    "steps": "\nSteps", STUDENT: f"Student\n{SHORT}", OTHERS: f"Teacher\n{SHORT}", "trials": "Settings\ntried",
    "time": "Time\n{unit}", "whole": "All\n{unit}", "needs": "Needs\n{unit}", "memory": "Memory\nMB",
}  # fmt: skip
TIMES = ("time", "whole", "needs")
UNITS = {"h": 3600.0, "min": 60.0, "s": 1.0}
Costs = dict[str, tuple[float, ...]]  # of a row by column; a column is missing where the runs do not tell


class Cost(Table):
    """Rows: the teacher, then every row of a study. Times and steps are sums over tasks of means over seeds."""

    title = "Cost: what each method's numbers took"
    requests = (Request("all"),)

    def build(self, study: StudyResults) -> TableData | None:
        # rows that were asked for, and the tasks with results (else those that were asked for)
        lines = [select_row(study, row) for row in ([TEACHER] if study.teachers else []) + study.rows]
        lines = [line for line in lines if any(line.asked.values())]
        done = [name for name in study.tasks if any(line.shown.get(name) for line in lines)]
        tasks = [TASKS.get(name) for name in done or study.tasks if any(line.asked.get(name) for line in lines)]
        if not tasks:
            return None
        # one unit for all times
        found = [_costs(line, tasks, study) for line in lines]
        longest = max((sum(costs.get("time", ())) for costs in found), default=0.0)
        unit = next((unit for unit, seconds in UNITS.items() if longest >= 2 * seconds), "s")
        titles = [name.format(unit=unit) for name in COLUMNS.values()]
        sheet = TableData(f"Cost, {table_heading(self.name, study).partition(', ')[2]}", ["", *titles])
        sheet.rows = [
            [TableCell((line.title,)), *_entries(costs, unit)] for line, costs in zip(lines, found, strict=True)
        ]
        # keys for the published numbers, signs, notes and records
        sheet.rules = {1} if study.teachers else set()
        sheet.row_keys, sheet.column_keys = [line.row for line in lines], list(COLUMNS)
        _mark_trials(sheet, lines, tasks)
        sheet.notes += _notes(study, lines, tasks)
        sheet.records = [record for line in lines for task in tasks for record in _records(study, line, task.name)]
        return sheet


def _costs(line: SelectedRow, tasks: Sequence[type[Task]], study: StudyResults) -> Costs:
    """Return the costs of a row by column; only the trials where a task has no finished run or a cost is lost."""
    # without a finished run and a readable cost on every task, only the trials are known
    cells = [line.shown.get(task.name, []) for task in tasks]
    tried: Costs = {"trials": (max(count_trials(line, task.name) for task in tasks),)}
    costs = [[cell.run.cost for cell in some] for some in cells]
    flat = [cost for some in costs for cost in some]
    if not all(cells) or not all(flat):
        return tried
    # all finished grid points, and what the shown runs need
    asked = {c.run.id: c.run for task in tasks for c in line.asked[task.name] if c.run.result is not None}
    needed = [_needed([c.run.id for c in some], study.runs) for some in cells]
    peak = max((cost.get("peak_memory") or 0 for cost in flat), default=0)
    found = {
        **tried, **_passes(flat), "memory": (peak / 1e6,),
        "steps": (sum(fmean(cost["steps"] for cost in some) for some in costs),),
        "time": (sum(fmean(cost["train_seconds"] for cost in some) for some in costs),),
        "whole": (_seconds(asked),),
        "needs": (sum(_seconds(runs) / len(some) for runs, some in zip(needed, cells, strict=True)),),
    }  # fmt: skip
    # a run without a time makes its sums nan
    return {key: numbers for key, numbers in found.items() if not any(map(isnan, numbers))}


def _passes(costs: Sequence[Mapping[str, Any]]) -> Costs:
    """Return rows through the student, and through all other networks, per row trained on."""
    rows = sum(cost.get("rows", 0) for cost in costs)
    if not rows or any("passes" not in cost for cost in costs):
        return {}
    networks = [item for cost in costs for item in cost["passes"].items()]
    through = {
        STUDENT: [kinds for name, kinds in networks if name == STUDENT],
        OTHERS: [kinds for name, kinds in networks if name != STUDENT],
    }
    return {who: tuple(sum(k.get(kind, 0) for k in some) / rows for kind in KINDS) for who, some in through.items()}


def _needed(runs: Sequence[str], known: Mapping[str, Run]) -> dict[str, Run]:
    """Return all runs that the given runs need, directly or not."""
    found = {run_id: run for name in runs for run_id, run in closure(name, known).items()}
    return {run_id: run for run_id, run in found.items() if run_id not in runs}


def _seconds(runs: Mapping[str, Run]) -> float:
    """Sum the training times of finished runs; nan where a run has none."""
    return sum(float(run.cost.get("train_seconds", nan)) for run in runs.values() if run.result is not None)


def _entries(costs: Costs, unit: str) -> list[TableCell]:
    """Format the costs of a row as cells."""
    out = []
    for key in COLUMNS:
        scale = UNITS[unit] if key in TIMES else 1.0
        numbers = tuple(number / scale for number in costs.get(key, ()))
        out.append(TableCell(tuple(_text(key, n) for n in numbers), numbers=numbers) if any(numbers) else EMPTY_CELL)
    return out


def _text(key: str, number: float) -> str:
    """Format the number of a column."""
    if key in TIMES:
        return f"{number:,.1f}"
    if key in ("steps", "trials", "memory"):
        return f"{number:,.0f}"
    return f"{number:.2f}".removesuffix("0") if number else "0"


def _mark_trials(sheet: TableData, lines: Sequence[SelectedRow], tasks: Sequence[type[Task]]) -> None:
    """Sign rows that were selected among more settings than another row."""
    column = list(COLUMNS).index("trials") + 1
    most = {
        i: max(count_trials(line, task.name) for task in tasks) for i, line in enumerate(lines) if line.row != TEACHER
    }
    least = min((n for n in most.values() if n), default=0)
    more = [i for i, n in most.items() if n > least]
    for i in more:
        number = most[i]
        sheet.rows[i][column] = TableCell((f"{number}",), numbers=(float(number),), sign=SIGN)
    if more:
        sheet.notes.append(f"{SIGN} Picked among more settings than other rows.")


def _notes(study: StudyResults, lines: Sequence[SelectedRow], tasks: Sequence[type[Task]]) -> list[str]:
    """Return the notes that explain the columns, and what is missing."""
    # facts of the runs shown
    cells = [cell for line in lines for cell in line.cells]
    others = sorted({name for cell in cells for name in cell.run.cost.get("passes", {})})
    lost = sorted({cell.run.id for cell in cells if not cell.run.cost})
    names = ", ".join(task.title for task in tasks)
    seeds = notes.describe_seeds(lines, spread="mean over seeds")
    # from the meaning of the columns to what is missing
    found = [
        f"Steps and times are of {names} together; {seeds}.",
        *(_passes_words(others) if others else []),
        "Settings tried: grid points among the runs of this table, none of other folders or seeds. Time: one training "
        "with the settings shown, evaluation included; All: every seed and setting; Needs: the trainings that it "
        "builds on, which rows share.",
        *(_memory_words(cells) if any(cell.run.cost.get("peak_memory") for cell in cells) else []),
        *machines.times_notes(cells),
        f"cost.json is lost or damaged: {', '.join(lost)}." if lost else "",
        *notes.train_rows_notes(study.on([task.name for task in tasks])),
        *fairness.option_notes(study, lines),
        *notes.missing_task_notes(study),
        *missing_runs.unfinished_notes(study, lines),
    ]
    return [note for note in found if note]


def _passes_words(networks: Sequence[str]) -> list[str]:
    """Explain the columns of passes."""
    others = ", ".join(name for name in networks if name != STUDENT) or "none"
    return [
        "fwd, jvp, bwd: forward, forward-mode and backward passes over rows of the method's steps / rows trained on; "
        f"jvp gives value and directional derivative. Teacher: all other networks ({others}). "
        "A frozen teacher's logits are computed once."
    ]


def _memory_words(cells: Iterable[CellResult]) -> list[str]:
    """Explain the column of memory."""
    on_gpu = {bool(there.get("gpu")) for cell in cells for there in cell.run.environments}
    resident = "the most that the process had resident, libraries and what earlier runs left included"
    if on_gpu == {True, False}:
        return [f"Memory cannot be compared: on a GPU the most that torch had there, on a CPU {resident}."]
    return ["Memory: the most that torch had on the GPU."] if on_gpu == {True} else [f"Memory: {resident}."]


def _records(study: StudyResults, line: SelectedRow, task: str) -> list[dict[str, Any]]:
    """Return the costs of each run as a record; `shown` marks the runs of the grid point that tables show."""
    shown, tried = {cell.run.id for cell in line.shown.get(task, ())}, count_trials(line, task)
    origin, out = {**provenance.task_origin(study, task), "row": line.row, "title": line.title, "task": task}, []
    for cell in line.asked.get(task, ()):
        if cell.run.result is not None:
            cost = dict(cell.run.cost)
            passes = {
                f"{name}_{kind}": n for name, kinds in cost.pop("passes", {}).items() for kind, n in kinds.items()
            }
            head = origin | {"seed": cell.cell.seed, "run": cell.run.id}
            out.append(head | {"shown": cell.run.id in shown, "trials": tried} | cost | passes)
    return out
