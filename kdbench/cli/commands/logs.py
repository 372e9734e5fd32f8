"""`kdbench logs`: print the log of a run, and the output of the jobs that trained it."""

from __future__ import annotations

import click

from kdbench.cli.results_option import results_option


@click.command(short_help="Show a run's log, and the end of the output of its jobs.")
@click.argument("run")
@click.option("--lines", type=click.IntRange(1), default=20, show_default=True,
              help="How many lines of each job's output to show.")  # fmt: skip
@results_option()
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
    # the whole log, then the last lines of each job's output
    sections = [(path, -lines) for executor in EXECUTORS.all().values() for path in executor.logs(store, found.id)]
    if found.folder.log.exists():
        sections.insert(0, (found.folder.log, 0))
    else:
        printing.print_line(console, f"{found.id} was not begun yet.")
    for path, start in sections:
        printing.print_line(console, f"{path}:", "dim")
        for text in path.read_text(encoding="utf-8", errors="replace").splitlines()[start:]:
            printing.print_line(console, f"  {text}")
