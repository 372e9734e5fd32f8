"""`kdbench list`: print the methods, tasks, presets, settings, executors or runs."""

from __future__ import annotations

import click

from kdbench.cli.results_option import results_option

LISTS = ("methods", "tasks", "presets", "settings", "executors", "runs")


@click.command(short_help="List methods, tasks, presets, settings, executors or runs.")
@click.argument("what", metavar="|".join(LISTS))
@results_option("runs: the results folder (default: results).")
@click.option("--method", help="runs: only those of this method or variant.")
@click.option("--task", help="runs: only those on this task.")
@click.option("--status", help="runs: only done, running, failed, interrupted, lost, queued, waiting or blocked.")
def command(what: str, results: str | None, **filters: str | None) -> None:
    """List everything of one kind, with a sentence for each.

    \b
    methods   all methods and their variants; kdbench show METHOD has the options
    tasks     labels, metrics and official sizes
    presets   models, data and hyperparameters to start from
    settings  what --set sets for all methods, with defaults; kdbench show METHOD has those of one
    executors where runs can be trained, with the settings of each
    runs      the runs of a results folder; kdbench show RUN has the rest
    """
    from kdbench.core.errors import UserError, check_known
    from kdbench.reporting import printing, show_lists

    # refuse what the list does not have
    check_known("list", [what], LISTS)
    used = [key for key, value in {"results": results, **filters}.items() if value is not None]
    if what != "runs" and used:
        raise UserError(f"--{used[0]} narrows a list of runs; write: kdbench list runs --{used[0]} ...")
    # print the list
    console = printing.make_console()
    if what == "runs":
        show_lists.list_runs(printing.open_store(results), filters, console)
    else:
        show_lists.LISTS[what](console)
