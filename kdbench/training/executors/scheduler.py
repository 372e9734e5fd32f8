"""Choose the next run of a plan and collect outcomes, for executors that stay alive during a sweep."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal, Protocol

from kdbench.planning.plan import Plan
from kdbench.results.store import Store
from kdbench.training.progress import Watcher

Verdict = Literal["trained", "failed", "elsewhere", "interrupted", "requeued"]  # each a method of Schedule

LOOK_SECONDS = 1.0  # between two checks of a run that another process trains


class SweepWatcher(Watcher, Protocol):
    """Receives progress reports of a sweep."""

    def skipped(self, run_id: str, why: str) -> None:
        """Report a run that is not trained here: it is done, or a run that it needs failed."""

    def finished(self, run_id: str, problem: str) -> None:
        """Report the end of a run; `problem` is "" for success."""


@dataclass
class Outcome:
    """Run ids of a sweep by outcome; with the reason for failed runs, the failed need for blocked ones."""

    done: list[str] = field(default_factory=list)  # before the sweep
    trained: list[str] = field(default_factory=list)  # by this sweep
    elsewhere: list[str] = field(default_factory=list)  # during the sweep, by another process
    failed: dict[str, str] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)
    stopped: bool = False


class Schedule:
    """Queue of a plan's unfinished runs, in graph order.

    A run can be taken once all its needs are done. A run whose needs failed is blocked. A run that another process
    trains is checked repeatedly until it is done or can be taken.

    Args:
        settled: runs that count as failed without being tried, with the reason.
    """

    def __init__(self, plan: Plan, store: Store, board: SweepWatcher, settled: dict[str, str] | None = None) -> None:
        self._plan, self._store, self._board = plan, store, board
        self._waiting: list[str] = []
        self._taken: set[str] = set()
        self._away: dict[str, float] = {}  # runs of other processes -> time of the next check
        self.outcome = Outcome()
        for run_id, spec in plan.runs.items():
            if store.run(run_id).is_done(spec.snapshots):
                self.outcome.done.append(run_id)
                board.skipped(run_id, "done")
            elif settled and run_id in settled:
                self.outcome.failed[run_id] = settled[run_id]
                board.skipped(run_id, settled[run_id])
            else:
                self._waiting.append(run_id)

    @property
    def is_over(self) -> bool:
        """Return whether no run is waiting, taken, or with another process."""
        return not (self._waiting or self._taken or self._away)

    def take(self) -> str | None:
        """Take the first run that can be trained now; None if there is none (yet)."""
        self._check_other_processes()
        for run_id in list(self._waiting):
            if self._is_blocked(run_id):
                self._waiting.remove(run_id)
            elif self._has_needs(run_id):
                self._waiting.remove(run_id)
                self._taken.add(run_id)
                return run_id
        return None

    def _check_other_processes(self) -> None:
        """Record runs that other processes have finished, and queue those that they gave up."""
        now = time.monotonic()
        for run_id in [run_id for run_id, due in self._away.items() if due <= now]:
            folder = self._store.run(run_id)
            state = folder.state()
            if state.status == "running":
                self._away[run_id] = now + LOOK_SECONDS
                continue
            del self._away[run_id]
            if folder.is_done(self._plan.runs[run_id].snapshots):
                self.outcome.elsewhere.append(run_id)
                self._board.skipped(run_id, "done by another process")
            elif state.status == "failed":
                self.outcome.failed[run_id] = f"{state.kind}: {state.message} (in another process)"
                self._board.skipped(run_id, self.outcome.failed[run_id])
            else:
                self._waiting.insert(0, run_id)

    def _has_needs(self, run_id: str) -> bool:
        """Return whether all needs of a run are done."""
        outcome = self.outcome
        done = {*outcome.done, *outcome.trained, *outcome.elsewhere}
        return done.issuperset(self._plan.runs[run_id].needs.values())

    def _is_blocked(self, run_id: str) -> bool:
        """Return whether a need of the run failed or is blocked; record and report it."""
        for parent in self._plan.runs[run_id].needs.values():
            if parent in self.outcome.failed or parent in self.outcome.blocked:
                self.outcome.blocked[run_id] = parent
                self._board.skipped(run_id, f"needs {parent}")
                return True
        return False

    def report_outcome(self, run_id: str, verdict: Verdict, *values: str) -> None:
        """Record the outcome of a run that was taken; `values` are arguments of the verdict's method."""
        self._taken.remove(run_id)
        getattr(self, verdict)(run_id, *values)

    def trained(self, run_id: str) -> None:
        self.outcome.trained.append(run_id)
        self._board.finished(run_id, "")

    def failed(self, run_id: str, why: str) -> None:
        self.outcome.failed[run_id] = why
        self._board.finished(run_id, why)

    def elsewhere(self, run_id: str) -> None:
        """Record that another process trains the run."""
        self._away[run_id] = time.monotonic() + LOOK_SECONDS
        self._board.paused(run_id, "another process trains it; waiting for that")

    def interrupted(self, run_id: str) -> None:
        """Record that the run was checkpointed because the user stopped the sweep."""
        self._waiting.insert(0, run_id)
        self.outcome.stopped = True

    def requeued(self, run_id: str, why: str) -> None:
        """Queue a run whose process died, to be resumed first."""
        self._waiting.insert(0, run_id)
        self._board.paused(run_id, why)
