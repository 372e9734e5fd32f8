"""The executor of this process: one run after the other."""

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
from kdbench.training.executors.scheduler import LOOK_SECONDS, Board, Outcome, Schedule, Verdict
from kdbench.training.progress import Watcher

SHOW_CURSOR = b"\x1b[?25h\n"  # progress bars hide it


def run_all(
    plan: Plan, store: Store, execution: Execution, recording: Recording, board: Board,
    should_stop: Callable[[], bool], settled: dict[str, str] | None = None,
) -> Outcome:  # fmt: skip
    """Train what is not done, in graph order. A failed run holds back only what depends on it.

    Args:
        settled: see `Schedule`.
    """
    schedule = Schedule(plan, store, board, settled)
    while not (schedule.is_over or schedule.outcome.stopped):
        if should_stop():
            schedule.outcome.stopped = True
        elif (run_id := schedule.take()) is not None:
            schedule.tell(run_id, *attempt(plan.runs[run_id], store, execution, recording, board, should_stop))
        elif not schedule.is_over:
            time.sleep(LOOK_SECONDS / 2)
    return schedule.outcome


def attempt(
    spec: RunSpec, store: Store, execution: Execution, recording: Recording, watcher: Watcher,
    should_stop: Callable[[], bool],
) -> tuple[Verdict, *tuple[str, ...]]:  # fmt: skip
    """Train one run; returns what `Schedule.tell` is to be told."""
    from kdbench.training.failures import as_failure
    from kdbench.training.runner import execute

    try:
        if not execute(spec, store, execution, recording, watcher, should_stop):
            return ("elsewhere",)
    except Stopped:
        return ("interrupted",)
    except (Timeout, Superseded):
        return ("elsewhere",)
    except Exception as error:  # also from outside of the run: no room for its lock, say
        failure = as_failure(error)
        return "failed", f"{failure.kind}: {failure.message}"
    return ("trained",)


@contextmanager
def stop_flag() -> Iterator[Callable[[], bool]]:
    """Within the block SIGINT and SIGTERM set a flag, so that a run can checkpoint; a second one ends it at once."""
    asked: list[int] = []

    def ask(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        if len(asked) > 1:  # an exception could be raised anywhere, also where Python can only print and ignore it
            if sys.stderr.isatty():
                os.write(2, SHOW_CURSOR)
            os._exit(EXIT_STOPPED)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
