"""Read the studies in a results folder: the cells that were asked for, joined with what their runs gave.

No method is imported, and so torch is not either.
"""

from __future__ import annotations

from typing import Any, cast

from kdbench.core.errors import NotPermitted
from kdbench.core.garbage import paused_collection
from kdbench.core.records import warn_once
from kdbench.core.spec import Cell, RunSpec
from kdbench.data.task_registry import TASKS
from kdbench.results.store import RunFolder, RunState, Store
from kdbench.results.study import DAMAGED, CellResult, Run, StudyResults, closure, settings
from kdbench.results.study_keys import find_study, join_disjoint, study_fields, study_key
from kdbench.results.study_names import distinguish_data, distinguish_networks, sweep_networks
from kdbench.results.sweep_files import Sweep, TaskRecord, read_sweeps


@paused_collection()
def studies(store: Store, preset: str | None = None) -> list[StudyResults]:
    """Return the studies in a results folder, the last asked for last.

    Args:
        preset: only those of this preset.
    """
    found, known, sweeps = list[StudyResults](), dict[str, Run](), read_sweeps(store)
    TASKS.learn((spec for sweep in reversed(sweeps) for spec in sweep.runs.values()), replace=True)
    for number, sweep in enumerate(sweeps):
        if preset in (None, sweep.preset):
            new = {run_id: spec for run_id, spec in sweep.runs.items() if run_id not in known}
            known |= {run: read(store.run(run), spec, sweep.planned.get(spec.task)) for run, spec in new.items()}
            _add(sweep, number, {run_id: known[run_id] for run_id in sweep.runs}, found)
    found = join_disjoint(found)
    for study in found if not store.is_collected else []:
        study.root = store.root
    distinguish_networks([(study.study, study.networks) for study in found])
    distinguish_data(found)
    for task, words in {task: words for study in found for task, words in study.changed.items()}.items():
        warn_once(
            f"Task '{task}' has other {words} now than when runs in {store.root} were trained; tables and figures "
            "leave these runs out. Give the changed task a name of its own to see both."
        )
    return found


def asked_runs(store: Store) -> dict[str, Run]:
    """Return the runs of all studies in a results folder by id, begun or not."""
    return {run_id: run for study in studies(store) for run_id, run in study.runs.items()}


def read(folder: RunFolder, spec: RunSpec, planned: TaskRecord | None = None) -> Run:
    """Read the state and the result of a run; `planned` is its task as it was."""
    state = folder.state()
    try:
        result = folder.result() if state.status == "done" else None
    except NotPermitted as error:
        return Run(spec, folder, RunState(status="failed", kind="permission", message=str(error)), None, planned)
    if state.status == "done" and result is None:
        # as the engine sees it: to be trained again
        kind = DAMAGED if (folder.path / "result.json").exists() else ""
        return Run(spec, folder, RunState(kind=kind), None, planned)
    return Run(spec, folder, state, cast(dict[str, Any] | None, result), planned)


def _add(sweep: Sweep, number: int, runs: dict[str, Run], found: list[StudyResults]) -> None:
    """Put each cell of a sweep into the study that it belongs to."""
    groups: dict[tuple[int, int], list[Cell]] = {}  # by what divides the data; of most sweeps one
    networks = sweep_networks(sweep)
    for cell in sweep.cells:
        training = runs[cell.run].spec.training
        groups.setdefault((training.split_seed, training.train_rows), []).append(cell)
    for (_, rows), cells in groups.items():
        key = study_key(sweep, runs[cells[0].run].spec)
        specs = {cell.task: runs[cell.run].spec for cell in cells}
        data = {task: spec.data.fingerprint for task, spec in specs.items()}
        own = study_fields(sweep, runs[cells[0].run].spec)
        sources = {str(spec.data.source) for spec in specs.values()} - {"files"}
        study = find_study(key, rows, data, sources, found) or StudyResults(sweep.preset, own, sweep.models, key)
        if sources and not study.sources:
            study.study |= {name: own[name] for name in ("source", "glue_dir")}
        found[:] = [other for other in found if other is not study] + [study]
        study.titles |= sweep.rows
        study.networks |= networks
        study.data |= data
        study.planned |= {task: then for task, then in sweep.planned.items() if task in specs}
        study.other_results |= sweep.other_results.keys()
        study.left_out |= {*sweep.left_out}
        study.data_remarks |= {task: tuple(said) for task, said in sweep.data_remarks.items() if task in data}
        known = {(c.cell.row, c.run.id): c for c in study.cells}
        for cell in cells:
            study.runs |= closure(cell.run, runs)
            place = (cell.row, cell.run)
            before = known[place].varied if place in known else ()
            varied = (*before, cell.varies)
            known[place] = CellResult(cell, runs[cell.run], settings(cell.run, runs), varied=varied, asked=number)
        study.cells = list(known.values())
