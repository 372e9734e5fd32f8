"""`kdbench cancel`: stop runs that are queued or being trained."""

from __future__ import annotations

import click

from kdbench.cli.results_option import results_option


@click.command(short_help="Stop runs: cancel their jobs, or stop the process that trains them.")
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@results_option()
def command(runs: tuple[str, ...], results: str | None) -> None:
    """Stop the named runs and the runs that need them; without a name, all runs of this results folder.

    A run that is being trained writes a checkpoint first, so nothing is lost: the same kdbench run command, or kdbench
    retry, resumes it.
    """
    from kdbench.planning.executor import EXECUTORS
    from kdbench.reporting import printing
    from kdbench.reporting.show_run import find_run, with_dependents
    from kdbench.reporting.show_status import nothing_was_run
    from kdbench.results.read_studies import asked_runs

    store = printing.open_store(results, raw=True)
    asked = asked_runs(store)
    if not (asked or runs):
        raise nothing_was_run(store)
    chosen = with_dependents([find_run(store, text).id for text in runs] if runs else asked, asked)
    cancelled = [line for executor in EXECUTORS.all().values() for line in executor.cancel(store, chosen)]
    which = "None of these runs" if runs else "No run"
    for text in cancelled or [f"{which} is in a queue or being trained."]:
        printing.print_line(printing.make_console(), text)
