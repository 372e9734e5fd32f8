"""`kdbench status`: print which runs are done, running, failed and waiting."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from kdbench.cli.results_option import results_option
from kdbench.cli.study_options import study_options

if TYPE_CHECKING:
    from kdbench.reporting.study_choice import StudyChoice


@click.command(short_help="Show which runs are done, running, failed and waiting.")
@click.option("--watch", is_flag=True, help="Show the status again every few seconds, until every run is settled.")
@click.option("--every", default=5.0, show_default=True, metavar="SECONDS", type=click.FloatRange(min=0.5),
              help="Time between two updates of --watch.")  # fmt: skip
@study_options(methods="Only these rows: methods, variants, or groups such as logits, and the runs that they need.")
@results_option()
def command(watch: bool, every: float, choice: StudyChoice, results: str | None) -> None:
    """Show the status of the runs of every study in a results folder.

    Reads only the folder and, if runs were submitted to a cluster, its queue. It works while runs train, from any
    machine that sees the folder.
    """
    from kdbench.reporting import printing, show_status

    store, console = printing.open_store(results), printing.make_console()
    if not watch:
        show_status.show_status(store, choice, console)
        return
    # again and again, in place on a terminal, until every chosen run is settled or Ctrl-C is pressed
    console.clear()
    while show_status.show_status(store, choice, console):
        time.sleep(every)
        console.clear()
