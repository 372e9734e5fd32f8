"""Store the plan and settings of a sweep, so that other processes can show it, continue it and retry its runs."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kdbench.core.errors import UserError
from kdbench.core.records import read_record, read_records
from kdbench.core.settings import Execution, Invocation, Recording, Study
from kdbench.core.spec import Name
from kdbench.data.task_registry import TASKS
from kdbench.planning import inputs
from kdbench.planning.config import Config, default_options, method_of_row, preset_values
from kdbench.planning.executor import EXECUTORS, EXIT_STOPPED, ExecutionRequest, Executor, ShowTables
from kdbench.planning.make_plan import model_ref
from kdbench.planning.plan import Plan
from kdbench.results.store import Store
from kdbench.results.sweep_files import Sweep, TaskRecord, creation_time
from kdbench.training.executors.changed_methods import changed_methods

if TYPE_CHECKING:
    from rich.console import Console


class StoredExecution(BaseModel):
    """Executor and settings of a stored sweep, as needed by `retry`."""

    model_config = ConfigDict(extra="forbid")

    executor: str
    options: dict[str, Any]
    execution: dict[str, Any]
    recording: dict[str, Any]
    devices: list[str]
    runs_per_job: int = Field(ge=1)
    tables: list[str] = ["1"]


class StoredSweep(Sweep):
    """A stored sweep with its executor and settings."""

    id: Name
    carried_out: Any = None


def build_request(
    config: Config, plan: Plan, store: Store, console: Console, tables: tuple[str, ...] = ("1",)
) -> tuple[Executor, ExecutionRequest]:
    """Return the executor of a configuration, and the request for it.

    Args:
        tables: see `ExecutionRequest`.

    Raises:
        UserError: no such executor, or an unknown setting of it.
    """
    invocation: Invocation = config.group(Invocation)
    kind = EXECUTORS.get(invocation.executor)
    names = invocation.devices.split(",") if isinstance(invocation.devices, str) else invocation.devices
    devices = tuple(name.strip() for name in names if name.strip())
    request = ExecutionRequest(
        plan, plan.id, store, config.group(Execution), config.group(Recording), devices, invocation.runs_per_job,
        console, tables,
    )  # fmt: skip
    return kind(config.section(kind.name, kind.options_type)), request


def store_sweep(executor: Executor, request: ExecutionRequest) -> None:
    """Store a sweep with titles and defaults of its methods, so that no method has to be imported to show it."""
    plan = request.plan
    rows = {row: method_of_row(row) for row in sorted({cell.row for cell in plan.cells})}
    titles = {row: method.variants[row][0] if row in method.variants else method.title for row, method in rows.items()}
    request.store.add_sweep(
        request.sweep,
        {
            "id": request.sweep,
            "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "command": ["kdbench", *sys.argv[1:]],
            "preset": plan.preset,
            "study": plan.study.identity(),
            "models": {role: model_ref(getattr(plan.study, role)).fingerprint for role in ("student", "teacher")},
            "rows": {
                row: {
                    "title": titles[row],
                    "position": method.position,
                    "usual": preset_values(plan.preset, row, method),
                    "defaults": default_options(row, method),
                }
                for row, method in rows.items()
            },
            "tasks": {
                task: TaskRecord.of(TASKS.get(task)).model_dump()
                for task in dict.fromkeys(cell.task for cell in plan.cells)
            },
            **_data_remarks(plan),
            "cells": [asdict(cell) for cell in plan.cells],
            "runs": {run: spec.model_dump(mode="json") for run, spec in plan.runs.items()},
            "carried_out": StoredExecution(
                executor=executor.name,
                options=executor.options.model_dump(mode="json"),
                execution=request.execution.model_dump(mode="json"),
                recording=request.recording.model_dump(mode="json"),
                devices=list(request.devices),
                runs_per_job=request.runs_per_job,
                tables=list(request.tables),
            ).model_dump(),
        },
    )


def _data_remarks(plan: Plan) -> dict[str, Any]:
    """Return the remarks on the data of each task, where there are some."""
    data = {spec.task: spec.data for spec in plan.runs.values()}
    found = {task: list(said) for task, ref in data.items() if (said := inputs.look_at_data(task, ref))}
    return {"data_remarks": found} if found else {}


def stored_plan(store: Store, sweep: str) -> Plan:
    """Return the plan that was stored under a name."""
    return _plan(read_record(store.sweeps_folder / f"{sweep}.json", Sweep))


def _plan(sweep: Sweep) -> Plan:
    TASKS.learn(sweep.runs.values(), replace=True)
    return Plan(sweep.preset, Study.model_validate(sweep.study), dict(sweep.runs), list(sweep.cells))


def retry(store: Store, runs: set[str], console: Console, show_tables: ShowTables) -> int:
    """Train `runs`, each with the settings of the newest sweep that contains it; return the exit code.

    Raises:
        UserError: a sweep cannot be executed any more.
    """
    left, todo = set(runs), []
    stored = read_records(store.sweeps_folder, StoredSweep)
    for record in sorted(stored, key=lambda sweep: creation_time(sweep.created), reverse=True):
        if here := left & record.runs.keys():
            left -= here
            todo.append(_stored_request(store, record, here, console))
    check_requests(todo)
    return execute_requests(todo, show_tables)


def check_requests(requests: Iterable[tuple[Executor, ExecutionRequest]]) -> None:
    """Check requests before any of them starts, and print remarks.

    Raises:
        UserError: a request cannot be executed.
    """
    for executor, request in requests:
        request.store.check_writable()
        for remark in [*executor.check(request), *changed_methods(request.plan, request.store)]:
            request.console.print(remark, highlight=False)


def start_requests(requests: Sequence[tuple[Executor, ExecutionRequest]], show_tables: ShowTables) -> int:
    """Check all requests, then store their sweeps and execute them; return the worst exit code.

    Raises:
        UserError: a request cannot be executed; nothing was written.
    """
    check_requests(requests)
    for executor, request in requests:
        request.store.begin()
        store_sweep(executor, request)
    return execute_requests(requests, show_tables)


def execute_requests(requests: Iterable[tuple[Executor, ExecutionRequest]], show_tables: ShowTables) -> int:
    """Execute requests one after the other, until the user stops; return the worst exit code."""
    worst = 0
    for executor, request in requests:
        code = executor.execute(request, show_tables)
        if code == EXIT_STOPPED:
            return code
        worst = max(worst, code)
    return worst


def _stored_request(
    store: Store, record: StoredSweep, runs: Iterable[str], console: Console
) -> tuple[Executor, ExecutionRequest]:
    """Return executor and request of a stored sweep, for some of its runs and their needs."""
    file = store.sweeps_folder / f"{record.id}.json"
    try:
        settings = StoredExecution.model_validate(record.carried_out)
        owner = file.stat().st_uid
    except (ValidationError, OSError):
        raise UserError("The sweep does not say how it was run; repeat its kdbench run command.") from None
    if owner != os.getuid():  # its settings may contain commands, which would run as this user
        raise UserError(f"{file} was written by another user; repeat its kdbench run command yourself.")
    kind = EXECUTORS.get(settings.executor)
    request = ExecutionRequest(
        _plan(record).only(runs), record.id, store, Execution.parse(settings.execution, "the stored sweep"),
        Recording.parse(settings.recording, "the stored sweep"), tuple(settings.devices), settings.runs_per_job,
        console, tuple(settings.tables),
    )  # fmt: skip
    return kind(kind.options_type.parse(settings.options, f"executor '{kind.name}'")), request
