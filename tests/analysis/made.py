"""Results folders without training: specs, states, results and sweeps written through the project's own classes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kdbench.core.atomic_files import read_json, write_json
from kdbench.core.settings import Training
from kdbench.core.spec import Cell, DataRef, ModelRef, RunSpec
from kdbench.data.task_registry import TASKS
from kdbench.reporting.tables import TableData
from kdbench.results.store import Store

STUDY = {"student": "s-net", "teacher": "t-net", "source": "hub", "glue_dir": "", "feedback": "train:0.1",
         "selection": "train:0.1"}  # fmt: skip
TITLES = {"finetune": ("Fine-tuning", 0), "kd": ("KD", 1), "dml": ("DML", 7), "lgtm": ("LGTM", 11),
          "lgtm_released": ("LGTM (released code)", 11)}  # fmt: skip
MORE_TITLES = {"pkd": ("PKD", 2), "skd": ("SKD", 3), "dist": ("DIST", 4), "takd": ("TAKD", 5), "rco": ("RCO", 6),
               "prokt": ("ProKT", 8), "pesf_kd": ("PESF-KD", 9), "meta_distill": ("Meta Distill", 10),
               "dkd": ("DKD", 20), "lskd": ("LSKD", 21), "wsl": ("WSL", 25),
               "prokt_lgtm": ("ProKT with labels", 8),
               "lgtm_no_influence": ("LGTM without influence", 11),
               "lgtm_no_fda": ("LGTM w/o FDA (as printed)", 11),
               "lgtm_printed": ("LGTM (as printed)", 11)}  # fmt: skip
COST = {
    "train_seconds": 65.0, "step_seconds": 60.0, "steps": 10, "rows": 100, "peak_memory": 2_000_000,
    "passes": {"student": {"forward": 200, "backward": 100}, "teacher": {"forward": 25}},
}  # fmt: skip
ENVIRONMENT = {"kdbench": "0", "device": "cpu", "cpu": "one", "cores": 1, "threads": 1, "python": "3", "packages": {}}


def spec(method: str, task: str, seed: int, **changes: Any) -> RunSpec:
    """A spec; keys of `Training` go there."""
    keys = {key: changes.pop(key) for key in list(changes) if key in Training.model_fields}
    fields: dict[str, Any] = {
        "method": method, "method_version": 1, "task": task, "seed": seed, "teacher": None, "feedback": None,
        "data": DataRef(source="hub", path=None, fingerprint=f"data-{task}"), "selection": "train:0.1", "options": {},
        "student": ModelRef(name="s-net", fingerprint="fp/s"), "training": Training(**keys),
    }  # fmt: skip
    return RunSpec(**{**fields, **changes})


def teacher(task: str, seed: int, **changes: Any) -> RunSpec:
    return spec("finetune", task, seed, student=ModelRef(name="t-net", fingerprint="fp/t"), **changes)


def result(task: str, report: float | Sequence[float], selection: float, last: float | None = None) -> dict[str, Any]:
    """What a run gives.

    Args:
        report: fractions in the order of the table (for each split, for each metric), or one for all.
        selection: the first metric on the selection split.
    """
    kind = TASKS.get(task)
    names = [(s, m) for s in kind.report_splits for m in kind.metrics]
    values = [report] * len(names) if isinstance(report, float) else list(report)
    splits: dict[str, dict[str, float]] = {s: {"loss": 0.5} for s in kind.report_splits}
    for (split, metric), number in zip(names, values, strict=True):
        splits[split][metric] = number
    best = {"step": 7, "selection": dict.fromkeys(kind.metrics, selection) | {"loss": 0.4}, "report": splits}
    worse = {s: {m: v if last is None else last for m, v in found.items()} for s, found in splits.items()}
    return {"best": best, "last": {**best, "step": 10, "report": worse}, "teacher": None, "rows": {"train": 90}}


@dataclass
class Made:
    """A sweep under construction."""

    store: Store
    preset: str = "bert-6l"
    study: Mapping[str, Any] = field(default_factory=lambda: dict(STUDY))
    cells: list[Cell] = field(default_factory=list)
    runs: dict[str, RunSpec] = field(default_factory=dict)

    def need(self, need: RunSpec) -> str:
        data = need.data.model_copy(update={"source": self.study["source"]})
        self.runs[need.id] = need.model_copy(update={"data": data})
        return need.id

    def ask(
        self, wanted: RunSpec, row: str | None = None, choice: Mapping[str, Any] | None = None,
        varies: Mapping[str, Any] | None = None,
    ) -> str:  # fmt: skip
        """A cell for a run; returns the run's id."""
        self.need(wanted)
        self.cells.append(Cell(row or wanted.method, wanted.task, wanted.seed, choice or {}, wanted.id, varies or {}))
        return wanted.id

    def done(
        self, run_id: str, report: float | Sequence[float], selection: float = 0.5, last: float | None = None
    ) -> str:
        self.state(run_id, "done", step=10, total=10, loss=0.25, score=100 * selection)
        write_json(self.store.run(run_id).path / "result.json", result(self.runs[run_id].task, report, selection, last))
        write_json(self.store.run(run_id).path / "cost.json", COST)
        write_json(self.store.run(run_id).model / "config.json", {})
        return run_id

    def best_at(self, run_id: str, step: int) -> None:
        """Say that a finished run was best at this step; its last evaluation is at step 10."""
        file = self.store.run(run_id).path / "result.json"
        found = read_json(file)
        write_json(file, {**found, "best": {**found["best"], "step": step}})

    def state(self, run_id: str, status: Any, **values: Any) -> str:
        folder = self.store.run(run_id)
        folder.begin(self.runs[run_id], ENVIRONMENT)
        folder.set_state(status, **values)
        return run_id

    def write(self, name: str = "one", created: str = "2026-01-01T00:00:00+0000") -> Store:
        rows = {c.row: (TITLES | MORE_TITLES)[c.row] for c in self.cells}
        self.store.add_sweep(name, {
            "created": created, "command": ["kdbench", "run", "--methods", "kd", "--set", "a b=1"],
            "preset": self.preset, "study": dict(self.study), "models": {"student": "fp/s", "teacher": "fp/t"},
            "rows": {row: {"title": title, "position": place} for row, (title, place) in rows.items()},
            "cells": [asdict(cell) for cell in self.cells],
            "runs": {run_id: run.model_dump(mode="json") for run_id, run in self.runs.items()},
        })  # fmt: skip
        return self.store


def full(root: Path, seeds: Sequence[int] = (0, 1, 2)) -> Store:
    """Six tasks, every title, a grid for LGTM, teachers; numbers that differ everywhere."""
    made = Made(Store(root))
    for t, task in enumerate(("mrpc", "rte", "sst2", "mnli", "qnli", "qqp")):
        for seed in seeds:
            parent = made.need(teacher(task, seed))
            made.done(parent, 0.91 + t / 100 + seed / 997, 0.9)
            for m, row in enumerate(TITLES):
                for lr in (1e-4, 3e-5) if row == "lgtm" else (5e-5,):
                    needs = {"teacher": parent} if row == "kd" else {}
                    method = row.partition("_")[0]
                    options = {"released": True} if "_" in row else {}
                    feedback = "train:0.1" if method == "lgtm" else None
                    wanted = spec(method, task, seed, student_lr=lr, needs=needs, options=options, feedback=feedback)
                    choice = {"student_lr": lr} if row == "lgtm" else {}
                    value = 0.7 + m / 50 + t / 100 + seed / 331 + (lr == 3e-5) / 499
                    made.done(made.ask(wanted, row, choice), value, 0.6 + (t % 2) * (lr == 1e-4) / 9)
    return made.write()


def states(root: Path) -> tuple[Store, dict[str, str]]:
    """One run in each state, by its name; `running` has no lock yet."""
    made = Made(Store(root))
    parents = [made.need(teacher("rte", seed)) for seed in range(4)]
    runs = {
        "done": made.done(made.ask(spec("kd", "rte", 0, needs={"teacher": made.done(parents[0], 0.8)})), 0.7),
        "failed": made.state(parents[1], "failed", kind="non-finite", message="the loss is nan at step 3"),
        "blocked": made.ask(spec("kd", "rte", 1, needs={"teacher": parents[1]})),
        "pending": made.ask(spec("kd", "rte", 2, needs={"teacher": parents[2]})),
        "running": made.ask(spec("finetune", "rte", 3)),
        "interrupted": made.ask(spec("finetune", "rte", 4)),
    }
    now = time.time()
    made.state(runs["running"], "running", step=40, total=160, loss=0.5, score=81.25, started=now - 100)
    made.state(runs["interrupted"], "interrupted", step=30, total=120, started=now - 50)
    return made.write(), runs


def texts(table: TableData) -> dict[str, list[str]]:
    """Return the cells of each row by its label."""
    return {row[0].text: [entry.text for entry in row[1:]] for row in table.rows}
