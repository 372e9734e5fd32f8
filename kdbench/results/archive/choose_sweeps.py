"""Choose the sweeps of one or several results folders that are to be collected."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from kdbench.core.errors import UserError, unknown
from kdbench.core.records import read_record
from kdbench.results.store import Store
from kdbench.results.sweep_files import Sweep

RowRun = tuple[str, str]  # a row, and one of its runs
RawSweep = tuple[Store, str, dict[str, Any]]  # folder, name, content


def choose_sweeps(
    stores: Sequence[Store], preset: str | None, cells: Collection[RowRun] | None = None
) -> list[RawSweep]:
    """Return all sweeps, or those of a preset, with all of their cells, or with some.

    Args:
        cells: the cells to keep, by row and run; None for all.

    Raises:
        UserError: a folder has no results, there is no such preset, or a file is damaged.
    """
    raw = [(store, name, sweep) for store in stores for name, sweep in _sweeps(store)]
    if empty := [str(store.root) for store in stores if raw and all(one is not store for one, _, _ in raw)]:
        raise UserError(f"There are no results in {' and '.join(empty)}; correct or leave out that --results DIR.")
    known = {str(sweep["preset"]) for _, _, sweep in raw}
    if preset is not None and known and preset not in known:
        raise unknown("preset", preset, known)
    raw = [item for item in raw if preset in (None, item[2]["preset"])]
    if cells is not None:
        cut = [(store, name, _with_cells(sweep, cells)) for store, name, sweep in raw]
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


def _with_cells(sweep: Mapping[str, Any], kept: Collection[RowRun]) -> dict[str, Any]:
    """Return a sweep with some of its cells, their tasks, their runs and the runs that these need.

    It names the cells that are gone by row and task. All rows keep their titles, which line styles depend on.
    """
    cells = [cell for cell in sweep["cells"] if (cell["row"], cell["run"]) in kept]
    gone = {(cell["row"], cell["task"]) for cell in sweep["cells"] if (cell["row"], cell["run"]) not in kept}
    gone |= {(row, task) for row, task in sweep.get("left_out", ())}
    tasks = {cell["task"] for cell in cells}
    runs, wanted = Sweep.model_validate(sweep).runs, {cell["run"] for cell in cells}
    while more := {need for run in wanted for need in runs[run].needs.values()} & runs.keys() - wanted:
        wanted |= more
    return {
        **sweep,
        "cells": cells,
        "runs": {name: spec for name, spec in sweep["runs"].items() if name in wanted},
        **({"left_out": sorted(map(list, gone))} if gone else {}),
        **{
            key: {task: said for task, said in sweep[key].items() if task in tasks}
            for key in ("tasks", "data_remarks") if key in sweep
        },
    }  # fmt: skip
