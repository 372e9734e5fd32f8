"""Stored sweeps: the cells that a `kdbench run` asked for, and the graph of their runs."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, TypeAdapter, field_validator, model_validator
from typing_extensions import TypedDict  # pydantic asks for it below Python 3.12

from kdbench.core.records import read_records
from kdbench.core.spec import Cell, Name, RunSpec, run_depths
from kdbench.data.task import Task
from kdbench.data.task_registry import TASKS
from kdbench.results.store import Store

ROLES = {"student", "teacher"}  # those whose fingerprints a sweep has
MOST_HOPS = 100  # from a student to the first teacher


class RowRecord(BaseModel):
    """A row's title and order in tables, its default options, and its settings under the preset alone."""

    title: str
    position: int
    usual: dict[str, Any] = {}
    defaults: dict[str, Any] | None = None  # not written down by earlier versions


class TaskRecord(BaseModel):
    """Hold what a task's classes and scores were called when runs were planned."""

    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    report_splits: tuple[str, ...]

    @classmethod
    def of(cls, task: type[Task] | None) -> TaskRecord:
        """Describe a task as it is now; all is empty where it is not known."""
        if task is None:
            return cls(labels=(), metrics=(), report_splits=())
        return cls(labels=tuple(task.labels), metrics=tuple(task.metrics), report_splits=tuple(task.report_splits))

    def differences(self, task: type[Task]) -> str:
        """Name what differs for a task now, such as `labels and metrics`; "" where all is the same."""
        now = TaskRecord.of(task)
        fields = [name for name in TaskRecord.model_fields if getattr(self, name) != getattr(now, name)]
        return " and ".join(fields).replace("report_splits", "reported splits")


class StudyRecord(TypedDict):
    """The stored networks, data and splits: the fields of `settings.Study` that every version wrote."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    student: str
    teacher: str
    source: str
    glue_dir: str
    feedback: str
    selection: str


_STUDY = TypeAdapter(StudyRecord)


class Sweep(BaseModel):
    """One `kdbench run`: its command, cells, and the graph of runs."""

    model_config = ConfigDict(extra="ignore")

    created: str
    command: list[str]
    preset: Name
    study: dict[str, Any]
    models: dict[str, str]  # role (student, teacher) -> fingerprint
    rows: dict[Name, RowRecord]
    tasks: dict[str, TaskRecord] = {}  # not written down by earlier versions
    data_remarks: dict[str, list[str]] = {}  # task -> what was seen in its data before training
    left_out: list[tuple[Name, str]] = []  # of a part that was collected: rows and tasks of the cells that are not here
    other_results: dict[Name, int] = {}  # of a collection: run -> finished copies that ended otherwise, left out
    cells: list[Cell]
    runs: dict[Name, RunSpec]  # those of the cells, and what they need

    @cached_property
    def planned(self) -> dict[str, TaskRecord]:
        """Return the tasks as they were, where that is known; of declared tasks the runs tell."""
        declared = {spec.task: spec for spec in self.runs.values() if spec.declaration}
        return self.tasks | {task: TaskRecord.of(TASKS.of(spec)) for task, spec in declared.items()}

    @field_validator("study")
    @classmethod
    def _check_study(cls, value: dict[str, Any]) -> dict[str, Any]:
        return cast(dict[str, Any], _STUDY.validate_python(value))

    @model_validator(mode="after")
    def _check_references(self) -> Sweep:
        """Refuse cycles, and names that refer to nothing, on which later searches would not end or would fail."""
        # every name must refer to something
        if lost := [cell.run for cell in self.cells if cell.run not in self.runs]:
            raise ValueError(f"a cell names the run {lost[0]}, which is not among the runs")
        if untitled := {cell.row for cell in self.cells} - self.rows.keys():
            raise ValueError(f"the row {min(untitled)} has no title")
        if not self.models.keys() >= ROLES:
            raise ValueError("models must name student and teacher")
        # needed runs form no cycle, and no chain that would end in a deep recursion
        needs = {run: set(spec.needs.values()) & self.runs.keys() for run, spec in self.runs.items()}
        try:
            order = list(TopologicalSorter(needs).static_order())
        except CycleError as error:
            raise ValueError(f"runs need each other in a circle: {error.args[1][0]}") from None
        depths = run_depths({run: self.runs[run] for run in order})
        if max(depths.values(), default=0) > MOST_HOPS:
            raise ValueError(f"more than {MOST_HOPS} runs need each other in a row")
        return self


def creation_time(created: str) -> float:
    """Return the time of a command in seconds, comparable across time zones; 0 where the text is no time."""
    try:
        return datetime.strptime(created, "%Y-%m-%dT%H:%M:%S%z").timestamp()
    except (ValueError, OverflowError):
        return 0.0


def read_sweeps(store: Store) -> list[Sweep]:
    """Return the sweeps, oldest first; a damaged file is named on standard error and left out."""
    sweeps = sorted(read_records(store.sweeps_folder, Sweep), key=lambda sweep: creation_time(sweep.created))
    TASKS.learn(spec for sweep in reversed(sweeps) for spec in sweep.runs.values())
    return sweeps
