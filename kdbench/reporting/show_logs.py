"""What a run, and the jobs that carried it, wrote down."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from kdbench.planning.executor import EXECUTORS
from kdbench.reporting import printing
from kdbench.results.store import Store
from kdbench.results.study import Run


def show(run: Run, store: Store, lines: int, console: Console) -> None:
    """The run's own log, then the last `lines` of each job's output."""
    own = run.folder.log
    if own.exists():
        _section(own, _read(own), console)
    else:
        printing.print_line(console, f"{run.id} was not begun yet.")
    for executor in EXECUTORS.all().values():
        for path in executor.logs(store, run.id):
            _section(path, _read(path)[-lines:], console)


def _read(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def _section(path: Path, found: list[str], console: Console) -> None:
    printing.print_line(console, f"{path}:", "dim")
    for text in found:
        printing.print_line(console, f"  {text}")
