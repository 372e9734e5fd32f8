"""Name the machines of runs, and tell whether their times can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kdbench.core.formatting import count
from kdbench.results.selection import SelectedRow
from kdbench.results.study import CellResult, Run

SOFTWARE = ("kdbench", "torch", "transformers")  # what computes a run's numbers
BUSY = 2.0  # by how many times equal runs differ in time where a machine has other work
NOT_COMPARABLE = "The times cannot be compared"
OTHER_WORK = f"{NOT_COMPARABLE}, because the machine had other work"
LEAST_SECONDS = 30.0  # shorter runs differ by what starting takes


def machine_note(runs: Iterable[Run]) -> str:
    """Name the machine of the times, or warn that they come from several; "" without runs."""
    places = sorted({name for run in runs for name in machine_names(run)})
    if len(places) > 1:
        return f"{NOT_COMPARABLE}: they are of different machines ({'; '.join(places)})."
    return f"Measured on: {places[0]}." if places else ""


def times_notes(cells: Sequence[CellResult]) -> list[str]:
    """Name the machine of the times, and say once that they cannot be compared."""
    note, work = machine_note(cell.run for cell in cells), _other_work(cells)
    said = "The machines had other work too" if NOT_COMPARABLE in note else OTHER_WORK
    return [text for text in (note, f"{said}: {work}." if work else "") if text]


def load_note(cells: Iterable[CellResult]) -> str:
    """Warn where the times show that a machine had other work than the runs; "" where they do not."""
    work = _other_work(cells)
    return f"{OTHER_WORK}: {work}." if work else ""


def _other_work(cells: Iterable[CellResult]) -> str:
    """Return how the times show that a machine had other work than the runs; "" where they do not.

    Seeds of one row on one machine do the same work, so their times are about equal. On a CPU all runs get about the
    same share of their threads.
    """
    times, shares = dict[tuple[str, str, str], list[float]](), list[float]()  # of row, task and machines; of runs
    for cell in cells:
        seconds = float(cell.run.cost.get("train_seconds") or 0)
        if seconds >= LEAST_SECONDS:
            work = (cell.cell.row, cell.cell.task, "; ".join(machine_names(cell.run)))
            times.setdefault(work, []).append(seconds)
            spent, threads = cell.run.cost.get("cpu_seconds"), cell.run.environment.get("threads")
            if spent and threads and not cell.run.environment.get("gpu"):
                shares.append(float(spent) / (seconds * threads))
    widest = max(times.values(), key=lambda some: max(some) / min(some), default=[1.0])
    if max(widest) > BUSY * min(widest):
        return f"seeds of one row took {min(widest):,.0f} to {max(widest):,.0f} s"
    if shares and max(shares) > BUSY * min(shares):
        return f"runs had {min(shares):.0%} to {max(shares):.0%} of their threads"
    return ""


def times_warning(cells: Sequence[CellResult]) -> str:
    """Return why times cannot be compared: other work, or other machines; "" where they can."""
    note = machine_note(cell.run for cell in cells)
    return load_note(cells) or (note if NOT_COMPARABLE in note else "")


def software_notes(lines: Iterable[SelectedRow]) -> list[str]:
    """Say which rows were trained with other versions of kdbench, its libraries or networks of the hub than others."""
    found: dict[str, dict[str, dict[str, None]]] = {}  # software -> version -> titles of rows
    steps = ((line.title, there) for line in lines for cell in line.cells for there in cell.run.environments)
    for title, there in steps:
        packages, networks = there.get("packages") or {}, there.get("hub") or {}
        known = {"kdbench": there.get("kdbench"), **packages, **networks}
        for name in (*SOFTWARE, *networks):
            if version := known.get(name):
                found.setdefault(name, {}).setdefault(version, {})[title] = None
    told = {name: [f"{v} ({', '.join(rows)})" for v, rows in some.items()] for name, some in found.items()}
    return [f"Trained with different versions of {name}: {'; '.join(t)}." for name, t in told.items() if len(t) > 1]


def machine_names(run: Run) -> list[str]:
    """Name the machines of a run's steps by GPU, or CPU and threads, and the size of micro-batches, which cost time."""
    size = f", {count(run.state.micro_batch, 'row')} in memory at once" if run.state.micro_batch else ""
    return list(dict.fromkeys(f"{_device_name(there)}{size}" for there in run.environments))


def _device_name(environment: Mapping[str, Any]) -> str:
    if not environment:
        return "one that is not known"
    return environment.get("gpu") or f"{environment['cpu']}, {count(environment['threads'], 'thread')}"
