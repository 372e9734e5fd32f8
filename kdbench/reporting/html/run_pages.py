"""Prepare all runs for the report, each with the facts that reproduce it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdbench.core.formatting import duration, value
from kdbench.core.spec import dependents
from kdbench.planning import reproduce
from kdbench.reporting import provenance
from kdbench.reporting.run_status import RunStatuses
from kdbench.reporting.show_run import error_tail, score_rows
from kdbench.results.study import TEACHER, Run, StudyResults, task_order, task_title
from kdbench.results.sweep_files import Sweep

COST_TITLES = {
    "train_seconds": "training time (s)", "cpu_seconds": "processor time (s)", "steps": "optimiser steps",
    "peak_memory": "peak memory (bytes)",
}  # fmt: skip


@dataclass(frozen=True)
class RunLink:
    """A link to another run, with its role and status."""

    run: str
    role: str
    state: str


@dataclass(frozen=True)
class RunPage:
    """A run as the report shows it.

    `studies` are the numbers of the studies that it belongs to; `only_needed` is set if no cell of a table shows it.
    """

    id: str
    studies: Sequence[int]
    title: str
    task: str
    seed: int
    state: str
    reason: str
    score: str
    spent: str
    only_needed: bool
    error: Sequence[str]
    head: Sequence[str]
    scores: Sequence[Sequence[str]]
    facts: Mapping[str, Mapping[str, str]]
    needs: Sequence[RunLink]
    needed_by: Sequence[RunLink]
    command: str
    stored: Sequence[str]
    asked: bool


@dataclass(frozen=True)
class RunIndex:
    """The studies, runs, sweeps and statuses in which runs are looked up; `children` are the runs that need a run."""

    studies: Sequence[StudyResults]
    runs: Mapping[str, Run]
    children: Mapping[str, Sequence[str]]
    sweeps: Sequence[Sweep]
    statuses: RunStatuses

    def study(self, run: str) -> StudyResults | None:
        """Return the study of a run that was asked for last; None where no study has it."""
        return next((study for study in reversed(self.studies) if run in study.runs), None)

    def link(self, run: str, role: str = "") -> RunLink:
        """Build the link to a run; its status is "" if the run is not known."""
        known = run in self.runs
        return RunLink(run, role, self.statuses.status_of(self.study(run), self.runs[run]) if known else "")


def build_run_pages(studies: Sequence[StudyResults], sweeps: Sequence[Sweep], statuses: RunStatuses) -> list[RunPage]:
    """Return every run of the studies, begun or not, by task, row and seed."""
    runs = {run_id: run for study in studies for run_id, run in study.runs.items()}
    children = dependents({run_id: run.spec for run_id, run in runs.items()})
    every = RunIndex(studies, runs, children, sweeps, statuses)
    rows = {c.run.id: (study.titles[c.cell.row].position, c.cell.row) for study in studies for c in study.cells}
    found = sorted(
        runs.values(),
        key=lambda run: (task_order(run.spec.task), rows.get(run.id, (-1, run.spec.method)), run.spec.seed),
    )
    return [_page(run, every) for run in found]


def _page(run: Run, every: RunIndex) -> RunPage:
    """Collect everything that the report shows of a run."""
    study = every.study(run.id)
    assert study is not None
    # what the run belongs to, gave, and was asked for by
    spec, result = run.spec, run.result
    own = study.by_run.get(run.id, [])
    head, scores = score_rows(run) if result is not None else ((), ())
    commands, asked = reproduce.stored_commands(run.id, every.sweeps)
    cost = provenance.cost_numbers(run)
    return RunPage(
        id=run.id,
        studies=[i for i, other in enumerate(every.studies) if run.id in other.runs],
        title=" = ".join(dict.fromkeys(study.title(cell.cell.row) for cell in own)) or _name(run, study),
        task=task_title(spec.task),
        seed=spec.seed,
        state=every.statuses.status_of(study, run),
        reason=provenance.describe_problem(run, study),
        score=_score(run, study),
        spent=duration(cost["train_seconds"]) if "train_seconds" in cost else "",
        only_needed=not own,
        error=error_tail(run)[1] if run.state.status == "failed" else (),
        head=head,
        scores=scores,
        facts=_facts(run, cost),
        needs=[every.link(parent, role) for role, parent in spec.needs.items()],
        needed_by=[every.link(child) for child in every.children.get(run.id, ())],
        command=shlex.join(reproduce.run_command(run, study)),
        stored=[shlex.join(words) for words in commands],
        asked=asked,
    )


def _name(run: Run, study: StudyResults) -> str:
    """Name a run that stands in no row: the fine-tuned teacher, or the roles in which others need it."""
    if run.id in {cell.run.id for cell in study.teachers}:
        return study.title(TEACHER)
    others = study.runs.values()
    roles = {role for other in others for role, need in other.spec.needs.items() if need == run.id}
    return ", ".join(sorted(role.capitalize() for role in roles))


def _score(run: Run, study: StudyResults) -> str:
    """Format the scores of a run in per cent; "" where it has none."""
    if run.result is None or run.spec.task in study.gone:
        return ""
    cell = provenance.run_cell(run)  # also of an assistant
    return provenance.score_texts(cell)[0] if cell.is_scored else ""


def _facts(run: Run, cost: Mapping[str, float]) -> dict[str, dict[str, str]]:
    """Return the known facts of a run: heading -> name -> text."""
    groups: dict[str, Mapping[str, Any]] = {
        **provenance.run_facts(run),
        "Cost": {COST_TITLES.get(key, key.replace("_", " ")): number for key, number in cost.items()},
        "Machine and versions": provenance.machine_facts(run),
    }
    shown = {title: {k: value(v) for k, v in items.items() if v is not None} for title, items in groups.items()}
    return {title: items for title, items in shown.items() if items}
