"""Show the progress of a sweep: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from kdbench.core.formatting import count
from kdbench.data.task import selection_title
from kdbench.data.task_registry import TASKS
from kdbench.planning.plan import Plan

LINE_SECONDS = 10.0


def progress_display(plan: Plan, console: Console) -> ProgressBars | ProgressLines:
    """Return bars for a terminal, lines for a log."""
    return ProgressBars(plan, console) if console.is_terminal else ProgressLines(plan, console)


def _numbers(plan: Plan, run_id: str, loss: float | None, score: float | None) -> str:
    parts = [] if loss is None else [f"loss {loss:.3f}"]
    title = selection_title(TASKS.get(plan.runs[run_id].task).metrics)
    return "  ".join(parts if score is None else [*parts, f"{title} {score:.1f}"])


class ProgressLines:
    """Print a line when a run starts or ends, and every few seconds in between."""

    def __init__(self, plan: Plan, console: Console) -> None:
        self.plan, self.console = plan, console
        self._number: dict[str, int] = {}
        self._begun: dict[str, float] = {}
        self._last: dict[str, float] = {}
        self._total: dict[str, int] = {}
        self._score: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def _say(self, run_id: str, text: str) -> None:
        number = self._number.setdefault(run_id, len(self._number) + 1)
        place = f"[{number}/{len(self.plan.runs)}]"
        self.console.print(f"{place} {run_id}: {text}", markup=False, highlight=False, soft_wrap=True)

    def started(self, run_id: str, step: int, total: int) -> None:
        self._total[run_id], self._score[run_id] = total, ""
        self._begun[run_id] = self._last[run_id] = time.monotonic()
        self._say(run_id, f"{f'going on at step {step}' if step else 'starting'}, {count(total, 'step')}")

    def stepped(self, run_id: str, step: int, loss: float | None, score: float | None) -> None:
        self._score[run_id] = _numbers(self.plan, run_id, loss, score)
        now = time.monotonic()
        if now - self._last[run_id] >= LINE_SECONDS:
            self._last[run_id] = now
            self._say(run_id, f"step {step}/{self._total[run_id]}  {self._score[run_id]}")

    def skipped(self, run_id: str, why: str) -> None:
        self._say(run_id, why)

    def paused(self, run_id: str, why: str) -> None:
        self._say(run_id, why)

    def finished(self, run_id: str, problem: str) -> None:
        seconds = time.monotonic() - self._begun.get(run_id, time.monotonic())
        done = f"done in {seconds:.1f} s  {self._score.get(run_id, '')}"
        self._say(run_id, f"FAILED, {problem}" if problem else done)


class ProgressBars:
    """Show a bar for the sweep, and one for each running run with loss, score and time left."""

    def __init__(self, plan: Plan, console: Console) -> None:
        self._plan = plan
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("left"), TimeRemainingColumn(compact=True), TextColumn("{task.fields[numbers]}"),
            console=console, refresh_per_second=5,
        )  # fmt: skip
        self._sweep = self._progress.add_task("[bold]all runs", total=len(plan.runs), numbers="")
        self._tasks: dict[str, TaskID] = {}
        self._share: dict[str, float] = {}
        self._total: dict[str, int] = {}
        self._settled = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for run_id in list(self._tasks):
            self._drop(run_id)
        self._progress.stop()

    def started(self, run_id: str, step: int, total: int) -> None:
        self._drop(run_id)
        name = run_id.rpartition("-")[0]
        self._tasks[run_id] = self._progress.add_task(name, total=total, completed=step, numbers="")
        self._total[run_id] = max(1, total)

    def stepped(self, run_id: str, step: int, loss: float | None, score: float | None) -> None:
        self._progress.update(self._tasks[run_id], completed=step, numbers=_numbers(self._plan, run_id, loss, score))
        self._share[run_id] = step / self._total[run_id]
        self._show()

    def skipped(self, run_id: str, why: str) -> None:
        if why != "done":
            self._progress.console.print(f"{run_id}: {why}", markup=False)
        self._settle(run_id)

    def paused(self, run_id: str, why: str) -> None:
        self._progress.console.print(f"{run_id}: {why}", markup=False)
        self._drop(run_id)

    def finished(self, run_id: str, problem: str) -> None:
        if problem:
            self._progress.console.print(f"{run_id}: FAILED, {problem}", markup=False)
        self._settle(run_id)

    def _settle(self, run_id: str) -> None:
        self._drop(run_id)
        self._settled += 1
        self._show()

    def _drop(self, run_id: str) -> None:
        """Remove the run's bar."""
        self._share.pop(run_id, None)
        if run_id in self._tasks:
            self._progress.remove_task(self._tasks.pop(run_id))

    def _show(self) -> None:
        self._progress.update(self._sweep, completed=self._settled + sum(self._share.values()))
