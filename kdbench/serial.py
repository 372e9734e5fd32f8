"""The executor of this process: one run after the other."""

from __future__ import annotations

import gc
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from filelock import Timeout

from kdbench.errors import RunFailure, Stopped
from kdbench.lock import Superseded
from kdbench.plan import Plan
from kdbench.progress import Watcher
from kdbench.schedule import LOOK_SECONDS, Board, Outcome, Schedule, Verdict
from kdbench.settings import Execution, Recording
from kdbench.spec import RunSpec
from kdbench.store import Store


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
    """Train one run, in smaller pieces if memory is short; returns what `Schedule.tell` is to be told."""
    from kdbench.training.runner import as_failure, execute

    while True:
        try:
            execute(spec, store, execution, recording, watcher, should_stop)
        except Stopped:
            return ("interrupted",)
        except (Timeout, Superseded):
            return ("elsewhere",)
        except Exception as error:  # also from outside of the run: no room for its lock, say
            failure = as_failure(error)
            smaller = _smaller(spec, execution, failure)
            if smaller is None:
                return "failed", f"{failure.kind}: {failure.message}"
            execution = smaller
            del failure  # the tensors of the try hang in the frames of its traceback
        else:
            return ("trained",)
        gc.collect()
        watcher.paused(spec.id, f"out of memory; it goes on with {execution.micro_batch} rows in memory at once")


def _smaller(spec: RunSpec, execution: Execution, failure: RunFailure) -> Execution | None:
    """Half the rows in memory at once; the batch that the gradient is of stays what it was."""
    rows = min(execution.micro_batch or spec.training.batch_size, spec.training.batch_size)
    if failure.kind != "out-of-memory" or rows < 2:
        return None
    return execution.model_copy(update={"micro_batch": rows // 2})


@contextmanager
def stop_flag() -> Iterator[Callable[[], bool]]:
    """Within the block SIGINT and SIGTERM set a flag, so that a run can checkpoint; a second one ends it at once."""
    asked: list[int] = []

    def ask(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        if len(asked) > 1:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
