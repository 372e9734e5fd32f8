"""`kdbench status`: print which runs are done, running, failed and waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from kdbench.results.store import Store


@click.command(short_help="Show which runs are done, running, failed and waiting.")
@click.option("--watch", is_flag=True, help="Show the status again every few seconds, until every run is settled.")
@click.option("--every", default=5.0, show_default=True, metavar="SECONDS", type=click.FloatRange(min=0.5),
              help="Time between two updates of --watch.")  # fmt: skip
@click.option("--results", metavar="DIR", help="The results folder (default: results).")
def command(watch: bool, every: float, results: str | None) -> None:
    """Show the status of the runs of every study in a results folder.

    Reads only the folder and, if runs were submitted to a cluster, its queue. It works while runs train, from any
    machine that sees the folder.
    """
    from kdbench.reporting import printing, show_status

    store = printing.open_store(results)
    if watch:
        _watch(store, every)
    else:
        show_status.show_status(store, printing.make_console())


def _watch(store: Store, seconds: float) -> None:
    """Show the status again and again, in place on a terminal, until every run is settled or Ctrl-C is pressed."""
    import time

    from kdbench.reporting import printing, show_status

    console = printing.make_console()
    while True:
        console.clear()
        is_unsettled = show_status.show_status(store, console)
        if not is_unsettled:
            return
        time.sleep(seconds)
