"""Train the runs of a plan one after the other in this process."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from filelock import Timeout

from kdbench.core.errors import Stopped
from kdbench.core.settings import Execution, Recording
from kdbench.core.spec import RunSpec
from kdbench.planning.executor import EXIT_STOPPED
from kdbench.planning.plan import Plan
from kdbench.results.run_lock import Superseded
from kdbench.results.store import Store
from kdbench.training.executors.scheduler import LOOK_SECONDS, Outcome, Schedule, SweepWatcher, Verdict
from kdbench.training.progress import Watcher

SHOW_CURSOR = b"\x1b[?25h\n"  # progress bars hide it


def run_all(
    plan: Plan, store: Store, execution: Execution, recording: Recording, board: SweepWatcher,
    should_stop: Callable[[], bool], settled: dict[str, str] | None = None,
) -> Outcome:  # fmt: skip
    """Train the unfinished runs in graph order. A failed run blocks only the runs that depend on it.

    Args:
        settled: see `Schedule`.
    """
    schedule = Schedule(plan, store, board, settled)
    while not (schedule.is_over or schedule.outcome.stopped):
        if should_stop():
            schedule.outcome.stopped = True
        elif (run_id := schedule.take()) is not None:
            schedule.report_outcome(
                run_id, *train_run(plan.runs[run_id], store, execution, recording, board, should_stop)
            )
        elif not schedule.is_over:
            time.sleep(LOOK_SECONDS / 2)
    return schedule.outcome


def train_run(
    spec: RunSpec, store: Store, execution: Execution, recording: Recording, watcher: Watcher,
    should_stop: Callable[[], bool],
) -> tuple[Verdict, *tuple[str, ...]]:  # fmt: skip
    """Train one run; return the verdict and values for `Schedule.report_outcome`."""
    from kdbench.training.failures import as_failure
    from kdbench.training.runner import execute

    try:
        if not execute(spec, store, execution, recording, watcher, should_stop):
            return ("elsewhere",)
    except Stopped:
        return ("interrupted",)
    except (Timeout, Superseded):
        return ("elsewhere",)
    except Exception as error:  # also errors outside the training, such as a full disk for the lock
        failure = as_failure(error)
        return "failed", f"{failure.kind}: {failure.message}"
    return ("trained",)


@contextmanager
def stop_flag() -> Iterator[Callable[[], bool]]:
    """Let SIGINT and SIGTERM set a flag within the block, so that a run can checkpoint; a second signal exits."""
    signals: list[int] = []

    def set_flag(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        if len(signals) > 1:  # no exception: it could be raised where Python only prints and ignores it
            if sys.stderr.isatty():
                os.write(2, SHOW_CURSOR)
            os._exit(EXIT_STOPPED)

    before = {number: signal.signal(number, set_flag) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(signals)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
