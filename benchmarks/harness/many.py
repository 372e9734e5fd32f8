"""Ten thousand runs: planned by the command line, and stored without being trained to be looked at."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from safetensors.numpy import save_file

from kdbench.core.environment import environment
from kdbench.core.spec import RunSpec
from kdbench.data.task_registry import TASKS
from kdbench.planning.config import assemble_config
from kdbench.planning.make_plan import make_plan
from kdbench.planning.plan import Plan
from kdbench.results.store import RunState, Store
from kdbench.training.executors import sweep_record

RUNS = 10_000
METHODS, GROUP = "all", "glue"
ROWS, STEPS = 256, 100  # of every report split of made data; of every run
COST = {
    "train_seconds": 65.0, "step_seconds": 60.0, "steps": STEPS, "rows": 32 * STEPS, "peak_memory": 2_000_000,
    "passes": {"student": {"forward": 200, "backward": 100}, "teacher": {"forward": 25}},
}  # fmt: skip


def _plan(seeds: str) -> Plan:
    return make_plan(assemble_config({"methods": METHODS, "tasks": GROUP, "seeds": seeds}, Path("/")))


def seeds(runs: int) -> str:
    """So many seeds that all methods on all tasks, and what they need, are at least `runs` runs."""
    return f"0-{-(-runs // len(_plan('0').runs)) - 1}"


def planned(runs: int) -> int:
    """Return how many runs these seeds make."""
    return len(_plan(seeds(runs)).runs)


def store(folder: Path, runs: int = RUNS) -> int:
    """Write results of so many runs, as if they had been trained; returns how many there are."""
    config = assemble_config({"methods": METHODS, "tasks": GROUP, "seeds": seeds(runs)}, folder)
    plan, results = make_plan(config), Store(folder / "results")
    sweep_record.store_sweep(*sweep_record.build_request(config, plan, results, Console(file=io.StringIO())))
    here = environment("cpu")
    for spec in plan.runs.values():
        _finish(spec, results, here)
    return len(plan.runs)


def _finish(spec: RunSpec, results: Store, here: dict[str, Any]) -> None:
    """Make what a run leaves for others to read: its numbers, and its predictions on made labels."""
    folder, draw = results.run(spec.id), random.Random(spec.id)
    task = TASKS.get(spec.task)
    report: dict[str, dict[str, float]] = {}
    tensors: dict[str, NDArray[Any]] = {}
    for split in task.report_splits:
        classes = len(task.labels)
        labels = np.arange(ROWS) % classes
        right = np.random.default_rng(draw.randrange(2**31)).random(ROWS) < 0.8
        guess = np.where(right, labels, (labels + 1) % classes)
        counts = np.zeros((classes, classes))
        np.add.at(counts, (labels, guess), 1)
        report[split] = {name: float(value) for name, value in task().score_counts(counts).items()} | {"loss": 0.5}
        logits = np.eye(classes, dtype=np.float32)[guess]
        tensors |= {f"best/{split}/logits": logits, f"best/{split}/labels": labels}
    selection = dict.fromkeys(task.metrics, draw.uniform(0.6, 0.9)) | {"loss": 0.4}
    best = {"step": STEPS, "selection": selection, "report": report}
    files = {
        "spec": spec.model_dump(mode="json"), "environment": here, "cost": COST,
        "result": {"best": best, "last": best, "teacher": None, "rows": {"train": 576}},
        "state": RunState(status="done", step=STEPS, total=STEPS, loss=0.25, score=80.0).model_dump(mode="json"),
    }  # fmt: skip
    folder.path.mkdir(parents=True)
    for name, value in files.items():  # not made durable one by one, which takes minutes
        (folder.path / f"{name}.json").write_text(json.dumps(value, indent=1), encoding="utf-8")
    save_file(tensors, folder.predictions)
