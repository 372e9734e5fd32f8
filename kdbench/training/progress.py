"""What a person sees while runs train."""

from __future__ import annotations

from typing import Protocol


class Watcher(Protocol):
    """Told by the runner how a run goes."""

    def started(self, run_id: str, step: int, total: int) -> None:
        """A run begins, or goes on at `step`."""

    def stepped(self, run_id: str, step: int, loss: float | None, score: float | None) -> None:
        """A step is finished; `score` is the last one on the selection split, in per cent."""

    def paused(self, run_id: str, why: str) -> None:
        """The run was begun and ended before its end; it goes on soon, in this process or another."""


class Silent:
    """Shows nothing."""

    def started(self, run_id: str, step: int, total: int) -> None: ...

    def stepped(self, run_id: str, step: int, loss: float | None, score: float | None) -> None: ...

    def paused(self, run_id: str, why: str) -> None: ...
