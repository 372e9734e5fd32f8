"""`kdbench status`: what is done, running, failed and waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from kdbench.results.store import Store


@click.command(short_help="Show what is done, running, failed and waiting.")
@click.option("--watch", is_flag=True, help="Show it anew every few seconds, until everything is settled.")
@click.option("--every", default=5.0, show_default=True, metavar="SECONDS", type=click.FloatRange(min=0.5),
              help="How often --watch looks.")  # fmt: skip
@click.option("--results", metavar="DIR", help="The results folder (default: results).")
def command(watch: bool, every: float, results: str | None) -> None:
    """Show how the runs of a results folder stand, for every study in it.

    Reads the folder, and the cluster's queue if something was submitted to one, so it can be asked while runs train,
    from any machine that sees the folder.
    """
    from kdbench.reporting import printing, show_status

    store = printing.open_store(results)
    if watch:
        _watch(store, every)
    else:
        show_status.show_status(store, printing.make_console())


def _watch(store: Store, seconds: float) -> None:
    """Draw it in place on a terminal, one below the other elsewhere; Ctrl-C leaves."""
    import time

    from kdbench.reporting import printing, show_status

    console = printing.make_console()
    while True:
        console.clear()
        moving = show_status.show_status(store, console)
        if not moving:
            return
        time.sleep(seconds)
