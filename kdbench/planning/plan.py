"""A plan: the graph of runs, and the cells of the tables that show them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from kdbench.core.errors import UserError
from kdbench.core.settings import Study
from kdbench.core.spec import Cell, RunSpec
from kdbench.data.splits import held_out_share
from kdbench.distill.method import Method
from kdbench.distill.method_registry import METHODS


@dataclass
class Plan:
    """A graph of runs. `runs` is ordered so that every run comes after the runs that it needs."""

    preset: str
    study: Study
    runs: dict[str, RunSpec] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)  # on what a group of methods left out

    @property
    def id(self) -> str:
        """Return a hash of preset, study and cells, 12 hex digits."""
        cells = sorted([c.row, c.run, *([json.dumps(dict(c.varies))] if c.varies else [])] for c in self.cells)
        text = json.dumps([self.preset, self.study.identity(), cells])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def shared(self) -> dict[str, int]:
        """Count for each needed run how many runs need it."""
        counts: dict[str, int] = {}
        for spec in self.runs.values():
            for parent in spec.needs.values():
                counts[parent] = counts.get(parent, 0) + 1
        return counts

    def needing(self, runs: Iterable[str]) -> set[str]:
        """Return these runs and all that need one of them, by others or themselves."""
        found = set(runs)
        for run_id, spec in self.runs.items():  # needed runs come first
            if found & set(spec.needs.values()):
                found.add(run_id)
        return found

    def only(self, runs: Iterable[str]) -> Plan:
        """Return a plan with some of the runs and all runs that they need; the cells stay."""
        wanted = set(runs)
        for run_id, spec in reversed(self.runs.items()):
            if run_id in wanted:
                wanted |= set(spec.needs.values())
        return Plan(self.preset, self.study, {r: spec for r, spec in self.runs.items() if r in wanted}, self.cells)

    def absorb(self, other: Plan) -> None:
        """Add the cells and runs of another plan, keeping every snapshot that either asks for."""
        self.remarks += [remark for remark in other.remarks if remark not in self.remarks]
        self.cells += [cell for cell in other.cells if cell not in self.cells]
        for run, spec in other.runs.items():
            self.runs[run] = _with_snapshots(spec, self.runs.get(run))

    def add(self, spec: RunSpec) -> str:
        """Add a run after the runs that it needs, and return its id; equal runs are added once."""
        method = METHODS.get(spec.method)
        options = method.options_type.parse(spec.options, f"method '{spec.method}'")
        own = {"method_version": method.version, "method_file": METHODS.files.get(method.name)}
        spec = spec.model_copy(update={**own, "options": options.model_dump(mode="json")})
        needs = {role: self.add(need) for role, need in sorted(method.needs(spec).items())}
        changes = {
            **self._unused(spec, method),
            "needs": needs,
            "teacher_training": spec.teacher_training if _teacher_settings_matter(spec, method) else {},
            # `needs` reads every option; what is kept names no default of a later one, as the specs from before it
            "options": options.identity(),
        }
        final = spec.model_copy(update=changes)
        if final.student.is_outputs and final.training.epochs:
            raise UserError(f"'{final.student.title}' is a file of outputs, which cannot be trained; give a network.")
        self.runs[final.id] = _with_snapshots(final, self.runs.get(final.id))
        return final.id

    def _unused(self, spec: RunSpec, method: type[Method]) -> dict[str, Any]:
        """Return the spec's fields that the method does not read, set to None, so that equal runs have equal specs."""
        changes: dict[str, Any] = {field: None for field in ("teacher", "feedback") if field not in method.requires}
        if "feedback" in changes and spec.feedback and self.study.hold_out_feedback == "all":
            changes["withheld"] = spec.feedback if held_out_share(spec.feedback, "feedback") else None
        if "teacher_lr" not in method.requires:
            changes["training"] = spec.training.model_copy(update={"teacher_lr": None})
        return changes


def _with_snapshots(spec: RunSpec, known: RunSpec | None) -> RunSpec:
    """Return the run with the snapshots of the equal run that is already planned."""
    if known is None or set(known.snapshots) >= set(spec.snapshots):
        return known or spec
    return known.model_copy(update={"snapshots": tuple(sorted({*known.snapshots, *spec.snapshots}))})


def _teacher_settings_matter(spec: RunSpec, method: type[Method]) -> bool:
    """Return whether the settings of the teacher's own fine-tuning change the needed runs."""
    without = spec.model_copy(update={"teacher_training": {}})
    return bool(spec.teacher_training) and method.needs(spec) != method.needs(without)
