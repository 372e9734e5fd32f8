"""`kdbench logs`: print the log of a run, and the output of the jobs that trained it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console


@click.command(short_help="Show a run's log, and the end of the output of its jobs.")
@click.argument("run")
@click.option("--lines", default=20, show_default=True, help="How many lines of each job's output to show.")
@click.option("--results", metavar="DIR", help="The results folder (default: results).")
def command(run: str, lines: int, results: str | None) -> None:
    """Show when, where and how a run was started, stopped, resumed and finished.

    RUN is the name of a run, or a part of it that no other run has. For runs of a queue, the end of the output of its
    jobs follows.
    """
    from kdbench.planning.executor import EXECUTORS
    from kdbench.reporting import printing
    from kdbench.reporting.show_run import find_run

    store, console = printing.open_store(results, raw=True), printing.make_console()
    found = find_run(store, run)
    if found.folder.log.exists():
        _print_section(found.folder.log, _read_lines(found.folder.log), console)
    else:
        printing.print_line(console, f"{found.id} was not begun yet.")
    for executor in EXECUTORS.all().values():
        for path in executor.logs(store, found.id):
            _print_section(path, _read_lines(path)[-lines:], console)


def _read_lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def _print_section(path: Path, found: Iterable[str], console: Console) -> None:
    """Print the path of a file and, indented below it, some of its lines."""
    from kdbench.reporting import printing

    printing.print_line(console, f"{path}:", "dim")
    for text in found:
        printing.print_line(console, f"  {text}")
