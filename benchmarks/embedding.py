"""Measure a step with all rows of the embedding beside one with those of the tokens that occur, on short texts."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.contestants.planned import NOTHING, one_step
from benchmarks.work import BATCH, RATE, Work
from kdbench.core.errors import UserError
from kdbench.core.settings import Execution
from kdbench.core.spec import RunSpec
from kdbench.data.task_registry import TASKS
from kdbench.models import build
from kdbench.planning.config import assemble_config
from kdbench.planning.make_plan import make_plan
from kdbench.results.store import Store
from kdbench.training.setup import Setup, numerics, prepare

TASK = "trec"
METHODS = {"finetune": 1.0, "kd": 1.0, "lgtm": 1 / 3}  # shares of the steps that are asked for


def play(work: Work, steps: int) -> Iterator[dict[str, Any]]:
    """Make every step of a method with and without trimming, in alternating order.

    Yields:
        method; of either way (`trimmed`, `whole`) the rows of the embedding, and quartiles of a step's processor
        seconds.

    Raises:
        UserError: TREC is not there.
    """
    if not work.data_dir:
        raise UserError("TREC is read from a folder with trec/TREC.train in it; name it with --data-dir DIR.")
    for method, share in METHODS.items():
        with TemporaryDirectory() as folder:
            yield {
                "method": method,
                **_measure(*planned_trec(work, method, Path(folder)), work, max(2, round(share * steps))),
            }
        gc.collect()


def planned_trec(work: Work, method: str, folder: Path) -> tuple[RunSpec, Store]:
    """Plan a run on TREC, and put networks fresh from pre-training in the place of teachers."""
    layer: dict[str, Any] = {
        "preset": "minilm", "methods": method, "tasks": TASK, "seeds": str(work.seed), "data_dir": work.data_dir,
        "student": work.student, "teacher": work.teacher, "student_lr": RATE, "teacher_lr": RATE, "batch_size": BATCH,
    }  # fmt: skip
    plan = make_plan(assemble_config(layer, folder))
    (cell,) = plan.cells
    spec, store = plan.runs[cell.run], Store(folder / "results")
    for parent in map(plan.runs.__getitem__, spec.needs.values()):
        network = build.build(parent.student, TASKS.get(TASK).labels, "eager")
        network.save_pretrained(store.run(parent.id).model)
    return spec, store


def _measure(spec: RunSpec, store: Store, work: Work, steps: int) -> dict[str, Any]:
    with numerics(spec, torch.device("cpu"), work.threads):
        setups = {trimmed: _prepared(spec, store, work, trimmed=trimmed) for trimmed in (True, False)}
        seconds: dict[bool, list[float]] = {True: [], False: []}
        for step in range(work.warmup + steps):
            for trimmed in sorted(setups, reverse=bool(step % 2)):
                start = time.process_time()
                one_step(setups[trimmed], step)
                seconds[trimmed].append(time.process_time() - start)
    found: dict[str, Any] = {}
    for name, trimmed in (("trimmed", True), ("whole", False)):
        found[f"{name}_rows"] = _rows(setups[trimmed])
        found[name] = [round(value, 5) for value in quantiles(seconds[trimmed][work.warmup :], n=4)]
    return found


def _prepared(spec: RunSpec, store: Store, work: Work, *, trimmed: bool) -> Setup:
    execution = Execution(device="cpu", threads=work.threads, trim_embedding=trimmed)
    return prepare(spec, store, execution, NOTHING)


def _rows(setup: Setup) -> int:
    table: Any = setup.context.learners["student"].module.get_input_embeddings()  # type: ignore[operator]
    return int(table.num_embeddings)


def section(stored: Mapping[str, Any]) -> list[str]:
    """Return the lines of a paragraph and a table: medians, quartiles in brackets, and ratios of the medians."""
    work = stored["work"]
    about = (
        f"`{work['teacher']}` teaches `{work['student']}` TREC (13 tokens a question) in batches of {BATCH}: processor "
        f"time of a step with {work['threads']} thread{'s' * (work['threads'] > 1)} of {stored['environment']['cpu']}, "
        f"and its quartiles. In one process, every step is made with all rows of the embedding and with those of "
        f"tokens that occur, one after the other; both give the same bytes."
    )
    lines = ["| a step of | rows | ms, all rows | ms, rows that occur | times as fast |", f"|{'---|' * 5}"]
    for found in stored["measured"]:
        whole, trimmed = ([1000 * value for value in found[name]] for name in ("whole", "trimmed"))
        cells = [f"`{found['method']}`", f"{found['trimmed_rows']:,} of {found['whole_rows']:,}"]
        cells += [f"{middle:.0f} ({low:.0f}-{high:.0f})" for low, middle, high in (whole, trimmed)]
        lines.append("|".join(["", *cells, f"{whole[1] / trimmed[1]:.2f}", ""]))
    return [about, "", *lines]
