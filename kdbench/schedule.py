"""Which run comes next, and what became of each: shared by every executor that stays alive."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from kdbench.plan import Plan
from kdbench.progress import Watcher
from kdbench.store import Store

Verdict = Literal["trained", "failed", "elsewhere", "interrupted"]  # each a method of Schedule


class Board(Watcher, Protocol):
    """Told how the sweep goes."""

    def skipped(self, run_id: str, why: str) -> None:
        """The run was not started: it is done, or something it needs is not."""

    def finished(self, run_id: str, problem: str) -> None:
        """The run ended; `problem` is "" when it went well."""

    def paused(self, run_id: str, why: str) -> None:
        """The run was started and will be taken up again, here or elsewhere."""


@dataclass
class Outcome:
    """How a sweep ended, by run id."""

    done: list[str] = field(default_factory=list)
    trained: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)
    elsewhere: list[str] = field(default_factory=list)
    stopped: bool = False


class Schedule:
    """The runs of a plan that are still to be settled, in graph order.

    A run can be taken once everything it needs is there; one whose needs failed, or are another process's, is settled
    without being trained.
    """

    def __init__(self, plan: Plan, store: Store, board: Board) -> None:
        self._plan, self._board = plan, board
        self._waiting: list[str] = []
        self._taken: set[str] = set()
        self.outcome = Outcome()
        for run_id, spec in plan.runs.items():
            if store.run(run_id).is_done(spec.snapshots):
                self.outcome.done.append(run_id)
                board.skipped(run_id, "done")
            else:
                self._waiting.append(run_id)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to be taken or to come back."""
        return not self._waiting and not self._taken

    def take(self) -> str | None:
        """The first run that can be trained now; None when there is none (yet)."""
        for run_id in list(self._waiting):
            if self._held_back(run_id):
                self._waiting.remove(run_id)
            elif self._has_all(run_id):
                self._waiting.remove(run_id)
                self._taken.add(run_id)
                return run_id
        return None

    def _has_all(self, run_id: str) -> bool:
        there = {*self.outcome.done, *self.outcome.trained}
        return there.issuperset(self._plan.runs[run_id].needs.values())

    def _held_back(self, run_id: str) -> bool:
        """Whether something it needs will not come; says so on the board."""
        outcome = self.outcome
        for parent in self._plan.runs[run_id].needs.values():
            if parent in outcome.elsewhere:
                outcome.elsewhere.append(run_id)
                self._board.skipped(run_id, f"needs {parent}, which another process trains")
                return True
            if parent in outcome.failed or parent in outcome.blocked:
                outcome.blocked[run_id] = parent
                self._board.skipped(run_id, f"needs {parent}")
                return True
        return False

    def tell(self, run_id: str, verdict: Verdict, *values: str) -> None:
        """What became of a run that was taken."""
        getattr(self, verdict)(run_id, *values)

    def trained(self, run_id: str) -> None:
        self._taken.remove(run_id)
        self.outcome.trained.append(run_id)
        self._board.finished(run_id, "")

    def failed(self, run_id: str, why: str) -> None:
        self._taken.remove(run_id)
        self.outcome.failed[run_id] = why
        self._board.finished(run_id, why)

    def elsewhere(self, run_id: str) -> None:
        """Another process holds the run."""
        self._taken.remove(run_id)
        self.outcome.elsewhere.append(run_id)
        self._board.skipped(run_id, "being trained by another process")

    def interrupted(self, run_id: str) -> None:
        """The run was checkpointed because somebody asked the sweep to stop."""
        self._taken.remove(run_id)
        self.outcome.stopped = True

    def again(self, run_id: str, why: str) -> None:
        """The run's process is gone; the run goes back to the front."""
        self._taken.remove(run_id)
        self._waiting.insert(0, run_id)
        self._board.paused(run_id, why)
