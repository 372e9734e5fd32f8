"""The executor of this process: one run after the other."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Protocol

from filelock import Timeout

from kdbench.errors import RunFailure, Stopped
from kdbench.plan import Plan
from kdbench.progress import Watcher
from kdbench.settings import Execution, Recording
from kdbench.spec import RunSpec
from kdbench.store import Store


class Board(Watcher, Protocol):
    """Told how the sweep goes."""

    def skipped(self, run_id: str, why: str) -> None:
        """The run was not started: it is done, or something it needs is not."""

    def finished(self, run_id: str, problem: str) -> None:
        """The run ended; `problem` is "" when it went well."""


@dataclass
class Outcome:
    """How a sweep ended, by run id."""

    done: list[str] = field(default_factory=list)
    trained: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)
    elsewhere: list[str] = field(default_factory=list)
    stopped: bool = False


def run_all(plan: Plan, store: Store, execution: Execution, recording: Recording, board: Board) -> Outcome:
    """Train what is not done, in graph order. A failed run holds back only what depends on it."""
    outcome = Outcome()
    with stop_flag() as should_stop:
        for run_id, spec in plan.runs.items():
            if should_stop():
                outcome.stopped = True
                break
            _one(run_id, spec, store, execution, recording, board, should_stop, outcome)
    return outcome


def _one(
    run_id: str, spec: RunSpec, store: Store, execution: Execution, recording: Recording, board: Board,
    should_stop: Callable[[], bool], outcome: Outcome,
) -> None:  # fmt: skip
    from kdbench.training.runner import execute

    if store.run(run_id).is_done(spec.snapshots):
        outcome.done.append(run_id)
        board.skipped(run_id, "done")
        return
    missing = next((p for p in spec.needs.values() if p not in outcome.done + outcome.trained), None)
    if missing in outcome.elsewhere:
        outcome.elsewhere.append(run_id)
        board.skipped(run_id, f"needs {missing}, which another process trains")
        return
    if missing:
        outcome.blocked[run_id] = missing
        board.skipped(run_id, f"needs {missing}")
        return
    try:
        execute(spec, store, execution, recording, board, should_stop)
        outcome.trained.append(run_id)
        board.finished(run_id, "")
    except Stopped:
        outcome.stopped = True
    except Timeout:
        outcome.elsewhere.append(run_id)
        board.skipped(run_id, "being trained by another process")
    except RunFailure as failure:
        outcome.failed[run_id] = f"{failure.kind}: {failure.message}"
        board.finished(run_id, outcome.failed[run_id])


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
