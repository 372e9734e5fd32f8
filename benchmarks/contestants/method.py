"""A method of kdbench, step by step without its runner."""

from __future__ import annotations

from typing import Any

from benchmarks.contestants.planned import epoch_last, one_step, planned, prepared
from benchmarks.stopwatch import Stopwatch
from benchmarks.work import How, Timing, Work


def measure(work: Work, how: How, method: str, **options: Any) -> Timing:
    watch = Stopwatch(work.warmup)
    with planned(work, how, method, options, feedback=True) as (spec, store), prepared(spec, store, work) as setup:
        for step in epoch_last(work):
            one_step(setup, step)
            watch.lap()
    return Timing(watch.seconds(work.steps), work.steps)
