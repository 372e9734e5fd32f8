"""Trace a printed cell to its runs, and a run to the facts that reproduce it.

Everything is read from the results folder; no method is imported.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdbench.core.registry import ALL
from kdbench.core.spec import Cell
from kdbench.data.task import selection_title
from kdbench.data.task_registry import TASKS
from kdbench.distill.method_registry import in_group
from kdbench.reporting.tables import TABLES, TableCell, TableData
from kdbench.results import class_use
from kdbench.results.data_origin import data_source
from kdbench.results.selection import SelectedRow, select_row
from kdbench.results.study import TEACHER, CellResult, Run, StudyResults, closure

TRACED_TABLE, COMPLETE_TABLE = "table1", "tablescores"  # whose cells are traced; the second has methods of any group
PASSES = "passes"  # the group of numbers in cost.json: of each network how many passes of each kind
Facts = dict[str, dict[str, Any]]  # heading -> name -> value; a value that is None is not known


@dataclass(frozen=True)
class CellRuns:
    """The runs that were asked for in the place of a cell.

    Attributes:
        shown: the runs behind the numbers, one a seed.
        others: finished runs that are not behind the numbers: of grid points that were not selected, or not scored.
        missing: runs that are not finished.
        elsewhere: runs that other tables and figures vary on purpose, or of another version of the method.
    """

    shown: Sequence[CellResult]
    others: Sequence[CellResult]
    missing: Sequence[CellResult]
    elsewhere: Sequence[CellResult]

    @property
    def asked(self) -> Sequence[CellResult]:
        """Return all runs of this cell, finished or not."""
        return [*self.shown, *self.others, *self.missing]

    @property
    def wanted(self) -> Sequence[CellResult]:
        """Return the runs to reproduce: those of the grid point that is shown, else of the first grid point."""
        point = self.asked[0].point if self.asked else ""
        return [cell for cell in self.asked if cell.point == point]


@dataclass(frozen=True)
class TracedCell:
    """A cell of the table with its runs.

    Attributes:
        entry: the cell as printed; None where the table has no such cell.
        heads: the title of the task and, below it in the head, the names of the numbers.
    """

    study: StudyResults
    task: str
    line: SelectedRow
    entry: TableCell | None
    heads: tuple[str, ...]
    runs: CellRuns

    @property
    def selection(self) -> str:
        """Return the title of the metric that selects, such as `selection F1`."""
        task = TASKS.all().get(self.task)
        return selection_title(task.metrics if task else ())


def build_traced_table(study: StudyResults) -> TableData | None:
    """Build the table of a study; None where none of its cells was asked for."""
    return TABLES.get(traced_table(study))().build(study)


def traced_title(study: StudyResults) -> str:
    """Return the title of the table whose cells are traced, without what it shows: `Table 1`."""
    return TABLES.get(traced_table(study)).short_title()


def traced_table(study: StudyResults) -> str:
    """Return the name of the table whose cells are traced: the one with every row of the study."""
    return TRACED_TABLE if all(in_group(row, ALL) for row in study.rows) else COMPLETE_TABLE


def traceable_rows(study: StudyResults) -> list[str]:
    """Return the names of the rows that can be traced, the teacher first."""
    return [*([TEACHER] if study.teachers and TEACHER not in study.rows else []), *study.rows]


def trace_cell(study: StudyResults, printed: TableData | None, row: str, task: str) -> TracedCell:
    """Find the runs behind a cell.

    Args:
        printed: the table of the study.
        row: one of `traceable_rows`.
        task: a task of the study.
    """
    # the runs of the row on the task
    line = select_row(study, row)
    every, asked, shown = study.of(row, task), line.asked[task], line.shown[task]
    taken = {cell.run.id for cell in shown}
    # the cell as printed
    entry: TableCell | None = None
    heads: tuple[str, ...] = (TASKS.get(task).title,)
    if printed and row in printed.row_keys and task in printed.column_keys:
        column = printed.column_keys.index(task) + 1
        entry, heads = printed.rows[printed.row_keys.index(row)][column], tuple(printed.head[column].split("\n"))
    runs = CellRuns(
        shown=shown,
        others=[cell for cell in asked if cell.run.result is not None and cell.run.id not in taken],
        missing=[cell for cell in asked if cell.run.result is None],
        elsewhere=[cell for cell in every if cell not in asked],
    )
    return TracedCell(study, task, line, entry, heads, runs)


def run_cell(run: Run) -> CellResult:
    """Return a run as the cell that its method, task and seed make, also where no table shows the run."""
    return CellResult(Cell(run.spec.method, run.spec.task, run.spec.seed, {}, run.id), run, {})


def study_origin(study: StudyResults) -> dict[str, Any]:
    """Return what tells the numbers of a study from those of others: preset, networks, data and splits."""
    keys = ("student", "teacher", "source", "feedback", "selection", "split_seed")
    return {"preset": study.preset, **{key: study.study[key] for key in keys}}


def task_origin(study: StudyResults, task: str) -> dict[str, Any]:
    """Return `study_origin`, with the rows of train that were drawn at most and the data of a task."""
    return study_origin(study) | {"train_rows": study.train_rows[task], "data": study.data[task]}


def run_scores(cell: CellResult, checkpoint: str = "best") -> list[float]:
    """Return the scores of a run in per cent, in the order in which a cell prints them.

    Args:
        checkpoint: "best", which the selection split chose, or "last".
    """
    return [cell.score(*number, checkpoint) for number in TASKS.get(cell.cell.task).numbers()]


def mean_run_score(cell: CellResult, checkpoint: str = "best") -> float:
    """Return the mean of `run_scores`."""
    return statistics.fmean(run_scores(cell, checkpoint))


def score_texts(cell: CellResult) -> tuple[str, str]:
    """Format the scores of a run as a cell prints them, and that of the selection split.

    – where the run is not done, or its file of outputs lacks the rows of a split.
    """
    if cell.run.result is None:
        return "–", "–"
    scores = "/".join(f"{value:.1f}" for value in run_scores(cell)) if cell.is_scored else "–"
    known = cell.run.result["best"]["selection"]
    return scores, f"{100 * cell.selection(TASKS.get(cell.cell.task).metrics[0]):.1f}" if known else "–"


def differing_settings(cells: Iterable[CellResult]) -> list[str]:
    """Return the keys of the settings in which cells differ.

    Settings of needed runs are left out where the run's own setting of that name differs too.
    """
    cells = list(cells)
    keys = dict.fromkeys(key for cell in cells for key in cell.settings)
    found = [key for key in keys if len({str(cell.settings.get(key)) for cell in cells}) > 1]
    own = {key for key in found if "'s " not in key}
    everywhere = {key for key in found if all(key in cell.settings for cell in cells)}
    return [key for key in found if key in own or (key in everywhere and key.rpartition("'s ")[2] not in own)]


def run_facts(run: Run) -> Facts:
    """Return settings, options, models, data and splits of a run: heading -> name -> value."""
    spec = run.spec
    sizes = (run.result or {}).get("rows", {})
    models = {"student": spec.student, "teacher, trained along": spec.teacher}
    file = spec.method_file
    own = {f"teacher.{key}": value for key, value in spec.teacher_training.items()}
    if own.get("teacher.epochs") == 0:  # settings of a teacher that was not trained here do not count
        own = {"teacher": "taken as it is, not fine-tuned here"}
    # headings in the order in which they are printed
    return {
        **({"File of the method": {"path": file.path, "sha256": file.sha256}} if file else {}),
        "Settings": spec.training.model_dump() | own,
        f"Options of {spec.method} (version {spec.method_version})": dict(spec.options),
        "Models": {role: f"{ref.name}  ({ref.fingerprint})" for role, ref in models.items() if ref},
        "Data": {"source": data_source(spec), "folder": spec.data.path, "fingerprint": spec.data.fingerprint},
        "Splits": {
            "selection": spec.selection,
            "feedback": spec.feedback,
            "rows": "  ".join(f"{name} {number}" for name, number in sizes.items()) or None,
        },
    }


def machine_facts(run: Run) -> dict[str, Any]:
    """Return the machine and the package versions that a run recorded when it began; {} where it recorded none."""
    there = run.environment
    if not there:
        return {}
    # facts in the order in which they are printed
    packages = "  ".join(f"{name} {version}" for name, version in (there.get("packages") or {}).items())
    commit = f", commit {there['commit']}" if there.get("commit") else ""
    return {
        "host": run.state.host or None,
        "job": run.state.job or None,
        "device": f"{there.get('device')}  {there.get('gpu') or there.get('cpu')}",
        "cores, threads": f"{there.get('cores')}, {there.get('threads')}",
        "kdbench": f"{there.get('kdbench')}{commit}",
        "python": f"{there.get('python')}  {there.get('platform')}",
        "packages": packages or None,
        "earlier steps": "; ".join(map(_summary, there.get("earlier", []))) or None,
    }


def _summary(there: Mapping[str, Any]) -> str:
    """Return the device and the versions that earlier steps of a run had before it resumed."""
    versions = {"kdbench": there.get("kdbench"), "commit": there.get("commit"), **(there.get("packages") or {})}
    software = "  ".join(f"{name} {version}" for name, version in versions.items() if version)
    return f"{there.get('gpu') or there.get('cpu')}  {software}"


def cost_numbers(run: Run) -> dict[str, float]:
    """Return every number of cost.json; nested ones are named `group name`. {} where there is no cost.json."""
    return dict(_numbers(run.cost, ""))


def total_cost(run: Run, runs: Mapping[str, Run]) -> dict[str, float]:
    """Sum the costs of a run and of all runs that it needs, each once; of peaks take the highest.

    Only numbers that all of these runs counted are returned. Passes are summed over the networks, because one network
    has different names in different runs: the student of one is the teacher of another. A run that counted passes made
    none of the kinds that it does not name.
    """
    each = [_over_networks(cost_numbers(one)) for one in closure(run.id, {**runs, run.id: run}).values()]
    if all(any(key.startswith(PASSES) for key in one) for one in each):
        kinds = {key for one in each for key in one if key.startswith(PASSES)}
        each = [dict.fromkeys(sorted(kinds), 0.0) | one for one in each]
    keys = [key for key in each[0] if all(key in one for one in each)]
    return {key: (max if key.startswith("peak") else sum)(one[key] for one in each) for key in keys}


def _over_networks(costs: Mapping[str, float]) -> dict[str, float]:
    """Replace `passes NETWORK KIND` of all networks by `passes of all networks KIND`."""
    out: dict[str, float] = {}
    for key, number in costs.items():
        name = f"{PASSES} of all networks {key.split()[-1]}" if key.startswith(f"{PASSES} ") else key
        out[name] = out.get(name, 0) + number
    return out


def _numbers(values: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, float]]:
    """Yield the finite numbers of a nested mapping with their full names."""
    for key, item in values.items():
        if isinstance(item, Mapping):
            yield from _numbers(item, f"{prefix}{key} ")
        elif isinstance(item, int | float) and not isinstance(item, bool) and math.isfinite(item):
            yield f"{prefix}{key}", item


def merge_values(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge the named values of several runs; where they differ, join the distinct values by ` | `."""
    merged: dict[str, Any] = {}
    for key in dict.fromkeys(key for values in found for key in values):
        items = list({str(v[key]): v[key] for v in found if v.get(key) is not None}.values())
        merged[key] = items[0] if len(items) == 1 else " | ".join(map(str, items)) or None
    return merged


def describe_problem(run: Run, study: StudyResults | None) -> str:
    """Say what is wrong with a run: its failure, its failed parent, or its collapse; "" where nothing is wrong."""
    if run.state.status == "failed":
        return f"{run.state.kind or 'failed'}: {' '.join(run.state.message.split()) or 'no reason given'}"
    blocker = study.blocker(run) if study else None
    if blocker:
        return f"It waits for {blocker.id}, which failed."
    return " ".join(class_use.collapse_warnings(run.class_use, run.task.labels))
