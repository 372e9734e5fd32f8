"""`kdbench list`: print the methods, tasks, presets, settings, executors or runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kdbench.cli.results_option import results_option
from kdbench.cli.study_options import study_options

if TYPE_CHECKING:
    from kdbench.reporting.study_choice import StudyChoice

LISTS = ("methods", "tasks", "presets", "settings", "executors", "runs")


@click.command(short_help="List methods, tasks, presets, settings, executors or runs.")
@click.argument("what", metavar="|".join(LISTS))
@results_option("runs: the results folder (default: results).")
@study_options(
    preset="runs: only those of this preset.",
    student="runs: only those for this student, named as in tables or for kdbench run.",
    tasks="runs: only those on these tasks: names as in tables, or groups such as glue.",
    methods="runs: only those of these methods, variants, or groups such as logits.",
)
@click.option("--status", help="runs: only done, running, failed, interrupted, lost, queued, waiting or blocked.")
def command(what: str, choice: StudyChoice, results: str | None, status: str | None) -> None:
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
    given = {"results": results, "status": status, **vars(choice)}
    used = [key for key, value in given.items() if value is not None]
    if what != "runs" and used:
        raise UserError(f"--{used[0]} narrows a list of runs; write: kdbench list runs --{used[0]} ...")
    # print the list
    console = printing.make_console()
    if what == "runs":
        show_lists.list_runs(printing.open_store(results), choice, status, console)
    else:
        show_lists.LISTS[what](console)
