"""Which run comes next, and what became of each: shared by every executor that stays alive."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal, Protocol

from kdbench.planning.plan import Plan
from kdbench.results.store import Store
from kdbench.training.progress import Watcher

Verdict = Literal["trained", "failed", "elsewhere", "interrupted", "again"]  # each a method of Schedule

LOOK_SECONDS = 1.0  # between two looks at a run that another process trains


class Board(Watcher, Protocol):
    """Told how the sweep goes."""

    def skipped(self, run_id: str, why: str) -> None:
        """The run is settled and was not trained here: it is done, or something it needs is not."""

    def finished(self, run_id: str, problem: str) -> None:
        """The run ended; `problem` is "" when it went well."""


@dataclass
class Outcome:
    """How a sweep ended, by run id."""

    done: list[str] = field(default_factory=list)  # before
    trained: list[str] = field(default_factory=list)  # here
    elsewhere: list[str] = field(default_factory=list)  # meanwhile, by another process
    failed: dict[str, str] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)
    stopped: bool = False


class Schedule:
    """The runs of a plan that are still to be settled, in graph order.

    A run can be taken once everything it needs is there; one whose needs failed is settled without being trained; one
    that another process trains is looked at again and again until it is done, or free to be taken.

    Args:
        settled: runs that are not to be tried, with the reason: they count as failed.
    """

    def __init__(self, plan: Plan, store: Store, board: Board, settled: dict[str, str] | None = None) -> None:
        self._plan, self._store, self._board = plan, store, board
        self._waiting: list[str] = []
        self._taken: set[str] = set()
        self._away: dict[str, float] = {}  # runs of other processes: when to look again
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
        """Whether nothing is left to be taken or to come back."""
        return not (self._waiting or self._taken or self._away)

    def take(self) -> str | None:
        """The first run that can be trained now; None when there is none (yet)."""
        self._look_elsewhere()
        for run_id in list(self._waiting):
            if self._is_blocked(run_id):
                self._waiting.remove(run_id)
            elif self._has_all(run_id):
                self._waiting.remove(run_id)
                self._taken.add(run_id)
                return run_id
        return None

    def _look_elsewhere(self) -> None:
        """Settle what other processes have finished, and get back what they let go."""
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

    def _has_all(self, run_id: str) -> bool:
        outcome = self.outcome
        there = {*outcome.done, *outcome.trained, *outcome.elsewhere}
        return there.issuperset(self._plan.runs[run_id].needs.values())

    def _is_blocked(self, run_id: str) -> bool:
        """Whether something it needs will not come; says so on the board."""
        for parent in self._plan.runs[run_id].needs.values():
            if parent in self.outcome.failed or parent in self.outcome.blocked:
                self.outcome.blocked[run_id] = parent
                self._board.skipped(run_id, f"needs {parent}")
                return True
        return False

    def tell(self, run_id: str, verdict: Verdict, *values: str) -> None:
        """What became of a run that was taken."""
        self._taken.remove(run_id)
        getattr(self, verdict)(run_id, *values)

    def trained(self, run_id: str) -> None:
        self.outcome.trained.append(run_id)
        self._board.finished(run_id, "")

    def failed(self, run_id: str, why: str) -> None:
        self.outcome.failed[run_id] = why
        self._board.finished(run_id, why)

    def elsewhere(self, run_id: str) -> None:
        """Another process holds the run."""
        self._away[run_id] = time.monotonic() + LOOK_SECONDS
        self._board.paused(run_id, "another process trains it; waiting for that")

    def interrupted(self, run_id: str) -> None:
        """The run was checkpointed because somebody asked the sweep to stop."""
        self._waiting.insert(0, run_id)
        self.outcome.stopped = True

    def again(self, run_id: str, why: str) -> None:
        """The run's process is gone; the run goes back to the front."""
        self._waiting.insert(0, run_id)
        self._board.paused(run_id, why)
