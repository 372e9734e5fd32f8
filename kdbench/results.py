"""What tables are made of: the cells that were asked for, joined with what their runs gave."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from kdbench.config import owner
from kdbench.errors import UserError
from kdbench.plan import Cell
from kdbench.plugins import TASKS
from kdbench.spec import RunSpec
from kdbench.store import RunFolder, Status, Store


@dataclass(frozen=True)
class CellResult:
    """A cell and its run. `result` is None until the run is done, `spec` until it has begun."""

    cell: Cell
    status: Status
    spec: RunSpec | None
    result: dict[str, Any] | None

    def score(self, metric: str, split: str, checkpoint: str = "best") -> float:
        """A metric on a report split, in per cent."""
        assert self.result is not None
        return 100 * float(self.result[checkpoint]["report"][split][metric])

    def selection(self, metric: str) -> float:
        """The metric on the selection split, of the checkpoint that it selected."""
        assert self.result is not None
        return float(self.result["best"]["selection"][metric])

    @cached_property
    def setting(self) -> str:
        """What tells grid points apart: the hyperparameters, without the seed."""
        if self.spec is None:
            return json.dumps(dict(self.cell.choice), sort_keys=True)
        return json.dumps([self.spec.training.model_dump(), self.spec.options], sort_keys=True)


@dataclass
class StudyResults:
    """All cells of one preset on the same models, data and splits."""

    preset: str
    study: dict[str, Any]
    cells: list[CellResult] = field(default_factory=list)
    store: Store | None = None

    @property
    def tasks(self) -> list[str]:
        """In the order of the tables."""
        found = {c.cell.task for c in self.cells}
        return sorted(found, key=lambda name: (TASKS.get(name).position, name))

    @property
    def rows(self) -> list[str]:
        """Methods and variants, in the order of the tables."""
        return sorted({c.cell.row for c in self.cells}, key=lambda name: (owner(name).position, name))

    def of(self, row: str, task: str) -> list[CellResult]:
        return [c for c in self.cells if c.cell.row == row and c.cell.task == task]

    def missing(self) -> list[CellResult]:
        return [c for c in self.cells if c.result is None]


def row_title(row: str) -> str:
    """How tables name a method or a variant."""
    method = owner(row)
    return method.variants[row][0] if row in method.variants else method.title


def studies(store: Store, preset: str | None = None) -> list[StudyResults]:
    """The studies in a results folder, the last asked for last.

    Args:
        preset: only those of this preset.
    """
    found: dict[str, StudyResults] = {}
    seen: dict[str, set[tuple[str, str]]] = {}
    for sweep in store.sweeps():
        if preset is not None and sweep["preset"] != preset:
            continue
        key = json.dumps([sweep["preset"], {**sweep["study"], "glue_dir": ""}], sort_keys=True)
        study = found.pop(key, None) or StudyResults(sweep["preset"], sweep["study"], store=store)
        found[key] = study
        known = seen.setdefault(key, set())
        for raw in sweep["cells"]:
            if (raw["row"], raw["run"]) not in known:
                known.add((raw["row"], raw["run"]))
                study.cells.append(_join(Cell(**raw), store.run(raw["run"])))
    return list(found.values())


def _join(cell: Cell, run: RunFolder) -> CellResult:
    status = run.state().status
    try:
        spec = run.spec if status != "pending" else None
        result = run.result() if status == "done" else None
    except (UserError, OSError):
        return CellResult(cell, "pending", None, None)
    return CellResult(cell, status, spec, result)


def chosen(cells: Iterable[CellResult], metric: str) -> list[CellResult]:
    """The finished cells of the grid point that a table shows, one a seed, by seed.

    It is the one with the most finished seeds and, among those, the best mean on the selection split.
    """
    points: dict[str, list[CellResult]] = {}
    for cell in cells:
        if cell.result is not None:
            points.setdefault(cell.setting, []).append(cell)
    if not points:
        return []
    best = max(points.values(), key=lambda p: (len(p), sum(c.selection(metric) for c in p) / len(p)))
    return sorted(best, key=lambda c: c.cell.seed)
