"""Train as much of a study on TREC as a given time allows, several runs at once on one device."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from benchmarks.gpu.inputs import Measurement
from kdbench.core.settings import Execution, Recording
from kdbench.planning.config import assemble_config
from kdbench.planning.make_plan import make_plan
from kdbench.reporting.printing import make_console
from kdbench.results.store import Store
from kdbench.training.executors.process_pool import run_pool
from kdbench.training.executors.progress_bars import ProgressLines

RESERVE = 15.0  # seconds in which runs are checkpointed and counted


def train(how: Measurement, seconds: float) -> Iterator[dict[str, Any]]:
    """Train the runs of preset `minilm` on TREC until the time is over; finished runs of an earlier call count.

    Yields:
        of every finished run its id, method, score in per cent, seconds of training and steps; then a summary.
    """
    sizes, start = how.sizes, time.monotonic()
    networks = {} if how.has_minilm else {"teacher": how.work.teacher, "student": how.work.student}
    small = {"epochs": 1, "batch_size": 16, "precision": "fp32"} if how.small else {}
    layer: dict[str, Any] = {
        "preset": "minilm", "methods": sizes.methods, "tasks": "trec", "seeds": "0", "precision": "bf16",
        "data_dir": how.trec_dir, **networks, **small,
    }  # fmt: skip
    plan = make_plan(assemble_config(layer, how.out))
    store, recording = Store(how.out / "study"), Recording(probe_size=256, influence_points=40)
    jobs = min(4, max(sizes.jobs))
    execution = Execution(device=how.device, threads=max(1, how.threads // jobs), jobs=jobs)
    outcome = run_pool(
        plan, store, [execution] * jobs, recording, ProgressLines(plan, make_console()),
        lambda: time.monotonic() - start > max(0.0, seconds - RESERVE),
    )  # fmt: skip
    for run in [*outcome.done, *outcome.trained]:
        folder, spec = store.run(run), plan.runs[run]
        result, cost = folder.result(), folder.cost()
        assert result is not None, "it is done"
        yield {
            "run": run, "method": spec.method, "score": 100 * result["best"]["selection"]["accuracy"],
            "seconds": cost["train_seconds"], "steps": cost["steps"],
        }  # fmt: skip
    yield {
        "finished": len(outcome.done) + len(outcome.trained), "runs": len(plan.runs), "failed": dict(outcome.failed),
        "jobs": jobs, "wall": round(time.monotonic() - start, 1), "networks": networks or "MiniLM",
        "made_data": not how.data_dir, "precision": layer["precision"],
    }  # fmt: skip
