"""How a sweep is shown: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from kdbench.plan import Plan

LINE_SECONDS = 10.0


def board_for(plan: Plan, console: Console) -> Bars | Lines:
    """Bars where a person watches, lines where a log is written."""
    return Bars(len(plan.runs), console) if console.is_terminal else Lines(len(plan.runs), console)


def _numbers(loss: float | None, score: float | None) -> str:
    parts = [] if loss is None else [f"loss {loss:.3f}"]
    return "  ".join(parts if score is None else [*parts, f"score {score:.1f}"])


class Lines:
    """One line when a run starts or ends, and one every few seconds between."""

    def __init__(self, runs: int, console: Console) -> None:
        self.runs, self.console = runs, console
        self.count = 0
        self._run, self._total = "", 0
        self._begun = self._last = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def _say(self, text: str) -> None:
        self.console.print(f"[{self.count}/{self.runs}] {text}", markup=False, highlight=False, soft_wrap=True)

    def started(self, run_id: str, step: int, total: int) -> None:
        self.count += 1
        self._run, self._total, self._score = run_id, total, ""
        self._begun = self._last = time.monotonic()
        self._say(f"{run_id}: {f'going on at step {step}' if step else 'starting'}, {total} steps")

    def stepped(self, step: int, loss: float | None, score: float | None) -> None:
        self._score = _numbers(loss, score)
        now = time.monotonic()
        if now - self._last >= LINE_SECONDS:
            self._last = now
            self._say(f"{self._run}: step {step}/{self._total}  {self._score}")

    def skipped(self, run_id: str, why: str) -> None:
        self.count += 1
        self._say(f"{run_id}: {why}")

    def finished(self, run_id: str, problem: str) -> None:
        seconds = time.monotonic() - self._begun
        self._say(f"{run_id}: " + (f"FAILED, {problem}" if problem else f"done in {seconds:.1f} s  {self._score}"))


class Bars:
    """Two bars: the sweep, and the run at hand with its loss, its score and the time left."""

    def __init__(self, runs: int, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("left"), TimeRemainingColumn(compact=True), TextColumn("{task.fields[numbers]}"),
            console=console, refresh_per_second=5,
        )  # fmt: skip
        self._sweep = self._progress.add_task("[bold]all runs", total=runs, numbers="")
        self._run = self._progress.add_task("", total=None, numbers="")
        self._before, self._total = 0, 1

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.remove_task(self._run)
        self._progress.stop()

    def started(self, run_id: str, step: int, total: int) -> None:
        self._total = max(1, total)
        self._progress.reset(self._run, total=total, description=run_id.rpartition("-")[0], numbers="", completed=step)

    def stepped(self, step: int, loss: float | None, score: float | None) -> None:
        self._progress.update(self._run, completed=step, numbers=_numbers(loss, score))
        self._progress.update(self._sweep, completed=self._before + step / self._total)

    def skipped(self, run_id: str, why: str) -> None:
        if why != "done":
            self._progress.console.print(f"{run_id}: {why}", markup=False)
        self._advance()

    def finished(self, run_id: str, problem: str) -> None:
        if problem:
            self._progress.console.print(f"{run_id}: FAILED, {problem}", markup=False)
        self._advance()

    def _advance(self) -> None:
        self._before += 1
        self._progress.update(self._sweep, completed=self._before)
