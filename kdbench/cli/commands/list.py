"""`kdbench list`: methods, tasks, presets, executors, runs."""

from __future__ import annotations

import click

WHAT = ("methods", "tasks", "presets", "executors", "runs")


@click.command(short_help="List methods, tasks, presets, executors or runs.")
@click.argument("what", metavar="|".join(WHAT))
@click.option("--results", metavar="DIR", help="runs: the results folder (default: results).")
@click.option("--method", help="runs: only those of this method or variant.")
@click.option("--task", help="runs: only those on this task.")
@click.option("--status", help="runs: only done, running, failed, interrupted, waiting or blocked.")
def command(what: str, results: str | None, **filters: str | None) -> None:
    """List what there is, with a sentence for each.

    \b
    methods   all methods and their variants; kdbench show METHOD has the options
    tasks     labels, metrics and official sizes
    presets   models, data and hyperparameters to start from
    executors where runs can be trained, with the settings of each
    runs      the runs of a results folder; kdbench show RUN has the rest
    """
    from kdbench.core.errors import UserError, unknown
    from kdbench.reporting import list_plugins, list_runs, printing

    if what not in WHAT:
        raise unknown("list", what, WHAT)
    used = [key for key, value in {"results": results, **filters}.items() if value is not None]
    if what != "runs" and used:
        raise UserError(f"--{used[0]} narrows a list of runs; write: kdbench list runs --{used[0]} ...")
    console = printing.make_console()
    if what == "runs":
        list_runs.show(printing.open_store(results), filters, console)
    else:
        getattr(list_plugins, what)(console)
