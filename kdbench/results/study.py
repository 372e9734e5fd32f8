"""Hold what tables are made of: cells, runs, and studies, which are all the cells that may be compared."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from kdbench.core.errors import UserError
from kdbench.core.settings import Invocation
from kdbench.core.spec import Cell, ModelRef, RunSpec
from kdbench.data.task_registry import TASKS
from kdbench.models.display_names import display_name
from kdbench.results.class_use import ClassUses, find_class_use
from kdbench.results.predictions import Predictions, RunLogits, read_logits, read_predictions
from kdbench.results.store import RunFolder, RunState
from kdbench.results.sweep_files import RowRecord, TaskRecord

TEACHER = "teacher"  # the role, and the row, of the fine-tuned teachers
METHOD_FILE = "method_file"  # the setting that says which code a method's file had
DAMAGED = "damaged"  # the kind of a run that is done and whose result cannot be read


@dataclass(frozen=True)
class Run:
    """A run that was asked for or is needed, begun or not."""

    spec: RunSpec
    folder: RunFolder
    state: RunState
    result: dict[str, Any] | None  # of a run that is done
    planned: TaskRecord | None = None  # its task as it was

    @property
    def id(self) -> str:
        return self.folder.id

    @property
    def task(self) -> TaskRecord:
        """Return labels and metrics of its task, as they were; empty where they are not known."""
        return self.planned or TaskRecord.of(TASKS.of(self.spec))

    @cached_property
    def cost(self) -> Mapping[str, Any]:
        """Read the file; empty where it is lost or damaged."""
        return self.folder.cost()

    @cached_property
    def environment(self) -> Mapping[str, Any]:
        """Read the file; empty where it is lost or damaged."""
        return self.folder.environment()

    @property
    def environments(self) -> list[Mapping[str, Any]]:
        """Return the environments of all its steps: several where it resumed elsewhere, or with other versions."""
        return [*self.environment.get("earlier", []), self.environment]

    @cached_property
    def class_use(self) -> ClassUses:
        """Return which classes its networks predict; see `class_use.find_class_use`."""
        return find_class_use(len(self.task.labels), self.result, lambda: self.predictions)

    @cached_property
    def predictions(self) -> dict[str, Predictions]:
        """Read the predictions of a run that is done, by report split."""
        return read_predictions(self.folder)

    @cached_property
    def logits(self) -> RunLogits:
        """Read the logits of a run that is done, by report split."""
        return read_logits(self.folder)


@dataclass(frozen=True)
class CellResult:
    """A cell and its run.

    Attributes:
        settings: all hyperparameters, in which grid points differ; those of needed runs are called `ROLE's KEY`.
        varied: for each time that the cell was asked for, what its table or figure varies on purpose.
    """

    cell: Cell
    run: Run
    settings: Mapping[str, Any]
    varied: Sequence[Mapping[str, Any]] = field(default=({},), kw_only=True)
    asked: int = field(default=0, kw_only=True)  # the place of the last sweep that asked for it, among all by time

    def score(self, metric: str, split: str, checkpoint: str = "best") -> float:
        """Return a metric on a report split, in per cent."""
        assert self.run.result is not None
        return 100 * self._value(self.run.result[checkpoint]["report"].get(split, {}), metric, split)

    @property
    def is_scored(self) -> bool:
        """Return whether a finished run has scores on all report splits; a file of outputs may lack their rows."""
        return self.run.result is not None and all(self.run.result["best"]["report"].values())

    def selection(self, metric: str) -> float:
        """Return the metric on the selection split, of the checkpoint that it selected."""
        assert self.run.result is not None
        return self._value(self.run.result["best"]["selection"], metric, "the selection split")

    def _value(self, scores: Mapping[str, float], metric: str, split: str) -> float:
        """Look up a metric; raises UserError where the run was scored before the task had it."""
        if metric not in scores:
            raise UserError(
                f"{self.run.id} was not scored by {metric} on {split}: the metrics or splits of {self.cell.task} have "
                f"changed since; {self.run.folder.way_out}"
            )
        return float(scores[metric])

    def has(self, values: Mapping[str, Any]) -> bool:
        """Tell whether the cell was trained with these values, and asked for with nothing else varied on purpose."""
        here = {"feedback": self.run.spec.feedback, **self.settings}
        fits = any(set(varies) <= set(values) for varies in self.varied)
        return fits and all(here.get(key) == value for key, value in values.items())

    @cached_property
    def files(self) -> dict[str, Any]:
        """Return the hashes of the methods' files that the run depends on."""
        return {key: item for key, item in self.settings.items() if key.rpartition("'s ")[2] == METHOD_FILE}

    @cached_property
    def point(self) -> str:
        """Return the grid point, equal for runs that differ in their seed only."""
        return json.dumps(self.settings, sort_keys=True)


@dataclass
class StudyResults:
    """All cells of one preset on the same models, data and splits, from however many sweeps.

    `study` holds the fields of `settings.Study`, and `split_seed`, which also divides the data.
    `whole` and `chosen` are of a part of a study; see `study_part`.
    """

    preset: str
    study: dict[str, Any]
    models: dict[str, str]  # role -> fingerprint
    key: str
    titles: dict[str, RowRecord] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)  # task -> fingerprint
    data_remarks: dict[str, tuple[str, ...]] = field(default_factory=dict)  # task -> what was seen in its data
    planned: dict[str, TaskRecord] = field(default_factory=dict)  # task -> as it was
    other_results: set[str] = field(default_factory=set)  # runs that ended otherwise in a folder that was joined
    left_out: set[tuple[str, str]] = field(default_factory=set)  # rows and tasks that were not collected
    cells: list[CellResult] = field(default_factory=list)
    runs: dict[str, Run] = field(default_factory=dict)
    root: Path = Path(Invocation().results)  # the results folder, or where one would be made
    networks: dict[str, ModelRef] = field(default_factory=dict)  # role -> the network to start from
    other_data: str = ""  # tells it from a study that has other data of a task; begins with a comma
    whole: StudyResults | None = None  # the study that this is a part of
    chosen: frozenset[str] = frozenset()  # the rows that were chosen by name; all where there are none

    @property
    def tasks(self) -> list[str]:
        """Return the tasks that can be shown, in the order of the tables."""
        return sorted({c.cell.task for c in self.cells} - set(self.gone), key=task_order)

    @property
    def sources(self) -> set[str]:
        """Return where tasks come from that are not files of their own: one of generated, glue-dir, hub, or nothing."""
        return {str(cell.run.spec.data.source) for cell in self.cells} - {"files"}

    @property
    def train_rows(self) -> dict[str, int]:
        """Return how many rows of train were drawn at most, by task; 0 is all."""
        return {cell.cell.task: cell.run.spec.training.train_rows for cell in self.cells}

    @property
    def gone(self) -> list[str]:
        """Return tasks whose plugin is gone, does not load or has changed since; nothing shows their scores."""
        asked = {c.cell.task for c in self.cells}
        return sorted((asked - TASKS.all().keys()) | (asked & self.changed.keys()))

    @cached_property
    def changed(self) -> dict[str, str]:
        """Return what differs for a task since it was planned: task -> `labels and metrics`."""
        now = TASKS.all()
        found = {task: then.differences(now[task]) for task, then in self.planned.items() if task in now}
        return {task: words for task, words in found.items() if words}

    @property
    def rows(self) -> list[str]:
        """Return methods and variants, in the order of the tables."""
        return sorted({c.cell.row for c in self.cells}, key=lambda row: (self.titles[row].position, row))

    def of(self, row: str, task: str) -> list[CellResult]:
        """Return the cells of a row on a task; those of `teacher` are the fine-tuned teachers that others need."""
        cells = self.teachers if row == TEACHER and row not in self.titles else self.cells
        return [c for c in cells if c.cell.row == row and c.cell.task == task]

    def on(self, tasks: Collection[str]) -> StudyResults:
        """Return the study with its cells of these tasks and of those that are gone, and no other."""
        kept = {*tasks, *self.gone}
        return replace(self, cells=[c for c in self.cells if c.cell.task in kept])

    def takes(self, row: str) -> bool:
        """Return whether a row may be shown: where rows were chosen by name, only these."""
        return not self.chosen or row in self.chosen

    @cached_property
    def by_run(self) -> dict[str, list[CellResult]]:
        """Return the cells in which each run was asked for."""
        found: dict[str, list[CellResult]] = {}
        for cell in self.cells:
            found.setdefault(cell.run.id, []).append(cell)
        return found

    @property
    def pairing(self) -> str:
        """Name both networks, and data that differ elsewhere: `MiniLM-L6 teaches MiniLM (layers 1, 3, 5)`."""
        return f"{self._name(TEACHER)} teaches {' or '.join(self.students)}{self.other_data}"

    @property
    def students(self) -> list[str]:
        """Name the student; where all runs have `student_layers`, those that they start from."""
        started = {cell.run.spec.student.fingerprint: cell.run.spec.student for cell in self.cells}
        if not started or self.models["student"] in started:
            return [self._name("student")]
        return sorted(map(display_name, started.values()))

    def _name(self, role: str) -> str:
        return display_name(ModelRef(name=self.study[role], fingerprint=self.models[role]))

    def title(self, row: str) -> str:
        """Return the name of a row in tables."""
        return self.titles[row].title if row in self.titles else row.capitalize()

    @cached_property
    def teachers(self) -> list[CellResult]:
        """Return the runs that others need as `teacher` and that started from the study's teacher network."""
        if self.whole is not None:  # also where no chosen row needs them
            return [cell for cell in self.whole.teachers if cell.cell.task in self.tasks]
        found: dict[str, CellResult] = {}
        for run in self.runs.values():
            need = self.runs.get(run.spec.needs.get(TEACHER, ""))
            if need is not None and need.spec.student.fingerprint == self.models[TEACHER]:
                cell = Cell(TEACHER, need.spec.task, need.spec.seed, {}, need.id)
                found[need.id] = CellResult(cell, need, settings(need.id, self.runs))
        return list(found.values())

    def blocker(self, run: Run) -> Run | None:
        """Return the failed run that keeps `run` from being trained."""
        if run.state.status not in ("pending", "interrupted"):
            return None
        for parent in (self.runs[need] for need in run.spec.needs.values() if need in self.runs):
            found = parent if parent.state.status == "failed" else self.blocker(parent)
            if found is not None:
                return found
        return None


def settings(run_id: str, runs: Mapping[str, Run]) -> dict[str, Any]:
    """Return all hyperparameters that a run depends on by name, and the networks that needed runs start from."""
    spec = runs[run_id].spec
    values: dict[str, Any] = {**spec.training.model_dump(), **spec.options, "method_version": spec.method_version}
    values |= {METHOD_FILE: spec.method_file.version} if spec.method_file else {}
    for role, parent in sorted(spec.needs.items()):
        if parent in runs:
            need = runs[parent].spec
            values |= {f"{role}'s method": need.method, f"{role}'s network": need.student.fingerprint}
            values |= {f"{role}'s {key}": value for key, value in settings(parent, runs).items()}
    return values


def task_order(name: str) -> tuple[int, str]:
    """Return a sort key for tasks; a task whose plugin is gone comes last."""
    task = TASKS.all().get(name)
    return (task.position if task else 10**6, name)


def task_title(name: str) -> str:
    return TASKS.get(name).title if name in TASKS.all() else name


def closure(run_id: str, runs: Mapping[str, Run]) -> dict[str, Run]:
    """Return a run and all that it needs, by id."""
    out: dict[str, Run] = {}
    left = [run_id]
    while left:
        if (name := left.pop()) in runs and name not in out:
            out[name] = runs[name]
            left += reversed(runs[name].spec.needs.values())
    return out
