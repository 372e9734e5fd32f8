"""Choose the sweeps of one or several results folders that are to be collected."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from kdbench.core.errors import UserError, unknown
from kdbench.core.records import read_record
from kdbench.data.task_registry import TASKS
from kdbench.results.store import Store
from kdbench.results.sweep_files import Sweep

RawSweep = tuple[Store, str, dict[str, Any]]  # folder, name, content


def choose_sweeps(stores: Sequence[Store], preset: str | None, tasks: Collection[str]) -> list[RawSweep]:
    """Return all sweeps, or those of a preset, with all of their cells, or those on some tasks.

    Args:
        tasks: names or groups; () for all.

    Raises:
        UserError: a folder has no results, there is no such preset or task, or a file is damaged.
    """
    # all sweeps, or those of the preset, and of them all cells, or those of the tasks
    raw = [(store, name, sweep) for store in stores for name, sweep in _sweeps(store)]
    if empty := [str(store.root) for store in stores if raw and all(one is not store for one, _, _ in raw)]:
        raise UserError(f"There are no results in {' and '.join(empty)}; correct or leave out that --results DIR.")
    known = {str(sweep["preset"]) for _, _, sweep in raw}
    if preset is not None and known and preset not in known:
        raise unknown("preset", preset, known)
    raw = [item for item in raw if preset in (None, item[2]["preset"])]
    asked = {str(cell["task"]) for _, _, sweep in raw for cell in sweep["cells"]}
    groups = {task: getattr(TASKS.all().get(task), "group", "") for task in asked}
    if raw and (strange := sorted(set(tasks) - asked - set(groups.values()))):
        raise unknown("task", strange[0], {*asked, *groups.values()} - {""})
    if tasks:
        kept = {task for task, group in groups.items() if {task, group} & set(tasks)}
        cut = [(store, name, _on_tasks(sweep, kept)) for store, name, sweep in raw]
        raw = [item for item in cut if item[2]["cells"]]
    if not raw:
        places = " and ".join(str(store.root) for store in stores)
        raise UserError(f"There are no results in {places}; give another folder with --results DIR.")
    return raw


def _sweeps(store: Store) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and content of each sweep file."""
    for file in sorted(store.sweeps_folder.glob("*.json")):
        read_record(file, Sweep)
        yield file.stem, read_record(file, dict[str, Any])


def _on_tasks(sweep: Mapping[str, Any], tasks: Collection[str]) -> dict[str, Any]:
    """Return a sweep with its cells on some tasks, their rows, their runs and the runs that these need."""
    cells = [cell for cell in sweep["cells"] if cell["task"] in tasks]
    runs, wanted = Sweep.model_validate(sweep).runs, {cell["run"] for cell in cells}
    while more := {need for run in wanted for need in runs[run].needs.values()} & runs.keys() - wanted:
        wanted |= more
    rows = {cell["row"] for cell in cells}
    return {
        **sweep,
        "cells": cells,
        "runs": {name: spec for name, spec in sweep["runs"].items() if name in wanted},
        "rows": {name: record for name, record in sweep["rows"].items() if name in rows},
        **{
            key: {task: said for task, said in sweep[key].items() if task in tasks}
            for key in ("tasks", "data_remarks") if key in sweep
        },
    }  # fmt: skip
