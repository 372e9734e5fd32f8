"""kdbench as it is used: a run is executed, and its own account read (`step_seconds` in cost.json).

That is everything but evaluation and saving: batches, seeds, steps, checks, log, series, state file. What a frozen
teacher is asked once for all rows is in the account of the run, and told apart (a method asks in its first step).
"""

from __future__ import annotations

import gc
import shutil

from benchmarks.contestants.planned import NOTHING, execution, one_step, planned, prepared
from benchmarks.stopwatch import seconds_of
from benchmarks.work import How, Timing, Work
from kdbench.distill.frozen_teacher import FrozenTeacher
from kdbench.distill.method_registry import METHODS
from kdbench.training.runner import execute


def measure(work: Work, how: How, method: str = "kd") -> Timing:
    feedback = "feedback" in METHODS.get(method).requires
    with planned(work, how, method, {}, feedback=feedback) as (spec, store):
        with prepared(spec, store, work) as setup:
            for step in range(work.warmup):
                one_step(setup, step)
        del setup
        gc.collect()
        shutil.rmtree(store.cache / "outputs", ignore_errors=True)  # what the warm-up has left to be looked up
        with seconds_of(FrozenTeacher, "_table") as once, seconds_of(METHODS.get(method), "step") as inside:
            execute(spec, store, execution(work), NOTHING)
        cost = store.run(spec.id).cost()
    if cost["steps"] != work.steps:
        raise RuntimeError(f"{cost['steps']} steps, not {work.steps}")
    return Timing(cost["step_seconds"] - sum(once), work.steps, sum(once), sum(inside) - sum(once))
