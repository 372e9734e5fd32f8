"""`kdbench logs`: what a run wrote while it was trained."""

from __future__ import annotations

import click


@click.command(short_help="Show a run's log, and the end of what its jobs printed.")
@click.argument("run")
@click.option("--lines", default=20, show_default=True, help="How much of each job's output.")
@click.option("--results", metavar="DIR", help="The results folder (default: results).")
def command(run: str, lines: int, results: str | None) -> None:
    """Show when, where and how a run was begun, stopped, resumed and ended.

    RUN is a run's name, or enough of it. For runs of a queue, the end of what its jobs printed follows.
    """
    from kdbench.reporting import printing, show_logs
    from kdbench.reporting.show_run import find_run

    store = printing.open_store(results, raw=True)
    show_logs.show(find_run(store, run), store, lines, printing.make_console())
