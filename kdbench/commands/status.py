"""`kdbench status`: what is done, running, failed and waiting."""

from __future__ import annotations

import click


@click.command(short_help="Show what is done, running, failed and waiting.")
@click.option("--results", metavar="DIR", help="The results folder (default: results).")
def command(results: str | None) -> None:
    """Show how the runs of a results folder stand, for every study in it.

    Reads the folder only, so it can be asked while runs train, from any machine that sees the folder.
    """
    from kdbench.views import printing, status

    status.show(printing.open_store(results), printing.make_console())
