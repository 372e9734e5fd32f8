"""kdbench as it is used: a run is executed, and its own account read (`step_seconds` in cost.json).

That is everything but evaluation and saving: batches, seeds, steps, checks, log, series, state file. KD asks its teacher
once for all rows; this pass is in the account of the run, is timed on its own, and told apart.
"""

from __future__ import annotations

import gc
import time

from benchmarks.contestants.planned import NOTHING, execution, one_step, planned, prepared
from benchmarks.work import How, Timing, Work
from kdbench.spec import RunSpec
from kdbench.store import Store
from kdbench.training.runner import execute


def measure(work: Work, how: How) -> Timing:
    with planned(work, how, "kd", {}) as (spec, store):
        once = _warm(spec, store, work)
        gc.collect()
        execute(spec, store, execution(work), NOTHING)
        cost = store.run(spec.id).cost()
    if cost["steps"] != work.steps:
        raise RuntimeError(f"the run made {cost['steps']} steps, not {work.steps}")
    return Timing(cost["step_seconds"] - once, work.steps, once)


def _warm(spec: RunSpec, store: Store, work: Work) -> float:
    """Make the first steps of another training of this run; returns seconds of a pass of the teacher."""
    with prepared(spec, store, work) as setup:
        for step in range(work.warmup):
            one_step(setup, step)
        teacher = setup.lab.frozen("teacher")
        start = time.perf_counter()
        teacher.logits(setup.train.at(0))
        return time.perf_counter() - start
