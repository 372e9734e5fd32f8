"""The interface through which the runner reports the progress of a run."""

from __future__ import annotations

from typing import Protocol


class Watcher(Protocol):
    """Receives progress reports of the runner."""

    def started(self, run_id: str, step: int, total: int) -> None:
        """Report that a run starts, or resumes at `step`."""

    def stepped(self, run_id: str, step: int, loss: float | None, score: float | None) -> None:
        """Report a finished step; `score` is the latest on the selection split, in per cent."""

    def paused(self, run_id: str, why: str) -> None:
        """Report that a run was interrupted and will be resumed, by this process or another."""


class Silent:
    """Ignores all reports."""

    def started(self, run_id: str, step: int, total: int) -> None: ...

    def stepped(self, run_id: str, step: int, loss: float | None, score: float | None) -> None: ...

    def paused(self, run_id: str, why: str) -> None: ...
