"""`kdbench retry`: train the missing runs of earlier `kdbench run` commands."""

from __future__ import annotations

import click

from kdbench.cli.results_option import results_option


@click.command(short_help="Train failed and missing runs, as their last kdbench run would.")
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--failed", is_flag=True, help="Only failed runs, and the runs that they blocked.")
@results_option()
def command(runs: tuple[str, ...], failed: bool, results: str | None) -> int:
    """Train the missing runs of this results folder, with the executor and settings of their last kdbench run.

    Without names, all missing runs are trained; with names, those runs and the runs that they need.
    """
    from kdbench.reporting import printing
    from kdbench.reporting.run_status import RunStatuses
    from kdbench.reporting.show_run import find_run, with_dependents
    from kdbench.reporting.show_status import nothing_was_run
    from kdbench.reporting.show_table import show_tables
    from kdbench.results.read_studies import asked_runs
    from kdbench.training.executors import sweep_record

    store, console = printing.open_store(results, raw=True), printing.make_console()
    # the runs that are not done, perhaps only those that failed or were named
    asked = asked_runs(store)
    if not (asked or runs):
        raise nothing_was_run(store)
    missing = {run_id for run_id, run in asked.items() if run.state.status not in ("done", "running")}
    if failed:
        statuses = RunStatuses(store)
        broken = [run_id for run_id in missing if statuses.status_of(None, asked[run_id]) in ("failed", "lost")]
        missing &= set(with_dependents(broken, asked))
    if runs:
        missing &= {find_run(store, text).id for text in runs}
    if not missing:
        console.print(f"Nothing to do: none of the runs {'has failed' if failed else 'is missing'}.")
        return 0
    return sweep_record.retry(store, missing, console, show_tables)
