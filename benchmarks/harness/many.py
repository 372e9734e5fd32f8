"""Ten thousand runs: planned by the command line, and stored without being trained to be made a table of."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from benchmarks.harness.clock import kdbench
from kdbench import sweeps
from kdbench.config import assemble
from kdbench.environment import environment
from kdbench.files import write_json
from kdbench.plan import make
from kdbench.plugins import TASKS
from kdbench.spec import RunSpec
from kdbench.store import Store
from kdbench.training import checkpoint

RUNS = 10_000
METHODS, GROUP = "all", "glue"
ROWS, STEPS = 256, 100  # of every report split of made data; of every run
COST = {
    "train_seconds": 65.0, "step_seconds": 60.0, "steps": STEPS, "rows": 32 * STEPS, "peak_memory": 2_000_000,
    "passes": {"student": {"forward": 200, "backward": 100}, "teacher": {"forward": 25}},
}  # fmt: skip


def seeds(runs: int) -> str:
    """So many seeds that all methods on all tasks, and what they need, are at least `runs` runs."""
    one = len(make(assemble({"methods": METHODS, "tasks": GROUP, "seeds": "0"}, Path("/"))).runs)
    return f"0-{-(-runs // one) - 1}"


def measure_plan(folder: Path, runs: int = RUNS) -> float:
    """Of `kdbench run --dry-run`."""
    return kdbench("run", "--methods", METHODS, "--tasks", GROUP, "--seeds", seeds(runs), "--dry-run", folder=folder)


def measure_table(folder: Path) -> float:
    """Of `kdbench table 1` on what `store` wrote into `folder`."""
    return kdbench("table", "1", folder=folder)


def store(folder: Path, runs: int = RUNS) -> int:
    """Write results of so many runs, as if they had been trained; returns how many there are."""
    config = assemble({"methods": METHODS, "tasks": GROUP, "seeds": seeds(runs)}, folder)
    plan, results = make(config), Store(folder / "results")
    sweeps.remember(*sweeps.order(config, plan, results, Console(file=io.StringIO())))
    here = environment("cpu")
    for spec in plan.runs.values():
        _finish(spec, results, here)
    return len(plan.runs)


def _finish(spec: RunSpec, results: Store, here: dict[str, Any]) -> None:
    """Everything that a run leaves and a table reads: its numbers, and its predictions on made labels."""
    folder, draw = results.run(spec.id), random.Random(spec.id)
    folder.begin(spec, here)
    task = TASKS.get(spec.task)
    report: dict[str, dict[str, float]] = {}
    tensors: dict[str, Tensor] = {}
    for split in task.report_splits:
        labels = torch.arange(ROWS) % len(task.labels)
        right = torch.rand(ROWS, generator=torch.Generator().manual_seed(draw.randrange(2**31))) < 0.8
        guess = torch.where(right, labels, (labels + 1) % len(task.labels))
        scores = task().score(guess.tolist(), labels.tolist())
        report[split] = {**scores, "loss": 0.5}
        tensors |= {f"best/{split}/logits": torch.eye(len(task.labels))[guess], f"best/{split}/labels": labels}
    selection = dict.fromkeys(task.metrics, draw.uniform(0.6, 0.9)) | {"loss": 0.4}
    best = {"step": STEPS, "selection": selection, "report": report}
    checkpoint.store(folder.predictions, tensors, {})
    write_json(folder.path / "result.json", {"best": best, "last": best, "teacher": None, "rows": {"train": 576}})
    write_json(folder.path / "cost.json", COST)
    folder.set_state("done", step=STEPS, total=STEPS, loss=0.25, score=80.0)
