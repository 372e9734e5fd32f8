"""What was asked for, written down so completely that it can be shown, and gone on with, by another process."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kdbench.core.errors import UserError
from kdbench.core.records import read_record, read_records
from kdbench.core.settings import Execution, Invocation, Recording, Study
from kdbench.core.spec import Name
from kdbench.planning.config import Config, default_options, method_of_row, preset_values
from kdbench.planning.executor import EXECUTORS, EXIT_STOPPED, ExecutionRequest, Executor, ShowTables
from kdbench.planning.plan import Plan, model_ref
from kdbench.results.store import Store
from kdbench.results.sweep_files import Sweep, read_sweeps

if TYPE_CHECKING:
    from rich.console import Console


class CarriedOut(BaseModel):
    """How a sweep was to be carried out: what `retry` does again."""

    model_config = ConfigDict(extra="forbid")

    executor: str
    options: dict[str, Any]
    execution: dict[str, Any]
    recording: dict[str, Any]
    devices: list[str]
    runs_per_job: int = Field(ge=1)
    tables: list[str] = ["1"]


class StoredSweep(Sweep):
    """A sweep with what it takes to go on with it."""

    id: Name
    carried_out: Any = None


def order(
    config: Config, plan: Plan, store: Store, console: Console, tables: tuple[str, ...] = ("1",)
) -> tuple[Executor, ExecutionRequest]:
    """A configuration's executor, and what it is to carry out.

    Args:
        tables: see `ExecutionRequest`.

    Raises:
        UserError: no such executor, or a setting that it does not have.
    """
    asked: Invocation = config.group(Invocation)
    kind = EXECUTORS.get(asked.executor)
    given = asked.devices.split(",") if isinstance(asked.devices, str) else asked.devices
    devices = tuple(part.strip() for part in given if part.strip())
    made = ExecutionRequest(
        plan, plan.id, store, config.group(Execution), config.group(Recording), devices, asked.runs_per_job, console,
        tables,
    )  # fmt: skip
    return kind(config.section(kind.name, kind.options_type)), made


def remember(executor: Executor, order: ExecutionRequest) -> None:
    """Write down what was asked for; no method has to be imported to show it."""
    plan = order.plan
    rows = {row: method_of_row(row) for row in sorted({cell.row for cell in plan.cells})}
    titles = {row: method.variants[row][0] if row in method.variants else method.title for row, method in rows.items()}
    order.store.add_sweep(
        order.sweep,
        {
            "id": order.sweep,
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
            "cells": [asdict(cell) for cell in plan.cells],
            "runs": {run: spec.model_dump(mode="json") for run, spec in plan.runs.items()},
            "carried_out": CarriedOut(
                executor=executor.name,
                options=executor.options.model_dump(mode="json"),
                execution=order.execution.model_dump(mode="json"),
                recording=order.recording.model_dump(mode="json"),
                devices=list(order.devices),
                runs_per_job=order.runs_per_job,
                tables=list(order.tables),
            ).model_dump(),
        },
    )


def stored_plan(store: Store, sweep: str) -> Plan:
    """The plan that was remembered under a name."""
    return _plan(read_record(store.sweeps_folder / f"{sweep}.json", Sweep))


def _plan(sweep: Sweep) -> Plan:
    return Plan(sweep.preset, Study.model_validate(sweep.study), dict(sweep.runs), list(sweep.cells))


def retry(store: Store, runs: set[str], console: Console, show_tables: ShowTables) -> int:
    """Train `runs`, each as the newest sweep that has it was to be carried out; returns the exit code.

    Raises:
        UserError: what a sweep needs is not there any more.
    """
    left, todo = set(runs), []
    stored = read_records(store.sweeps_folder, StoredSweep)
    for record in sorted(stored, key=lambda sweep: sweep.moment, reverse=True):
        if here := left & record.runs.keys():
            left -= here
            todo.append(_again(store, record, here, console))
    check(todo)
    return execute(todo, show_tables)


def check(orders: Iterable[tuple[Executor, ExecutionRequest]]) -> None:
    """Print what is to be known before anything begins.

    Raises:
        UserError: one of them cannot work.
    """
    for executor, order in orders:
        for remark in [*executor.check(order), *_other_versions(order)]:
            order.console.print(remark, highlight=False)


def _other_versions(order: ExecutionRequest) -> list[str]:
    """Say which methods were trained here with other content of their files."""
    files = {spec.method: spec.method_file for spec in order.plan.runs.values() if spec.method_file}
    others: dict[str, set[str]] = {}
    for sweep in read_sweeps(order.store) if files else []:
        for run, spec in sweep.runs.items():
            file, other = files.get(spec.method), spec.method_file
            if file and (other and other.sha256) != file.sha256 and order.store.run(run).has_result():
                others.setdefault(spec.method, set()).add(run)
    return [
        f"{files[name].path} has changed since method '{name}' was trained here; its {len(runs)} earlier runs are "
        "kept, tables show those of the file as it is now."
        for name, runs in others.items()
    ]  # fmt: skip


def execute(orders: Iterable[tuple[Executor, ExecutionRequest]], show_tables: ShowTables) -> int:
    """One after the other, until somebody asks to stop; returns the worst exit code."""
    worst = 0
    for executor, order in orders:
        code = executor.execute(order, show_tables)
        if code == EXIT_STOPPED:
            return code
        worst = max(worst, code)
    return worst


def _again(
    store: Store, record: StoredSweep, runs: Iterable[str], console: Console
) -> tuple[Executor, ExecutionRequest]:
    """The executor and the order of a remembered sweep, for some of its runs and what they need."""
    file = store.sweeps_folder / f"{record.id}.json"
    try:
        how = CarriedOut.model_validate(record.carried_out)
        owner = file.stat().st_uid
    except (ValidationError, OSError):
        raise UserError("The sweep does not say how it was run; repeat its kdbench run command.") from None
    if owner != os.getuid():  # its settings may hold commands, which would run as us
        raise UserError(f"{file} was written by another user; repeat its kdbench run command yourself.")
    kind = EXECUTORS.get(how.executor)
    made = ExecutionRequest(
        _plan(record).only(runs), record.id, store, Execution.parse(how.execution, "the stored sweep"),
        Recording.parse(how.recording, "the stored sweep"), tuple(how.devices), how.runs_per_job, console,
        tuple(how.tables),
    )  # fmt: skip
    return kind(kind.options_type.parse(how.options, f"executor '{kind.name}'")), made
