"""A method of kdbench, step by step without its runner."""

from __future__ import annotations

from typing import Any

from benchmarks.contestants.planned import epoch_last, one_step, planned, prepared
from benchmarks.stopwatch import Stopwatch, seconds_of
from benchmarks.work import How, Timing, Work
from kdbench.distill.frozen_teacher import FrozenTeacher
from kdbench.distill.method_registry import METHODS


def measure(work: Work, how: How, method: str, **options: Any) -> Timing:
    feedback = "feedback" in METHODS.get(method).requires
    watch = Stopwatch(work.warmup, work.device)
    with planned(work, how, method, options, feedback=feedback) as (spec, store), prepared(spec, store, work) as setup:
        with seconds_of(FrozenTeacher, "_table") as once:
            for number, step in enumerate(epoch_last(work)):
                if number == work.warmup:
                    setup.context.meter.counts.passes.clear()
                one_step(setup, step)
                watch.lap()
        seconds, passes = watch.seconds(work.steps), setup.context.meter.counts.passes
    return Timing(seconds, work.steps, sum(once), passes=passes)
