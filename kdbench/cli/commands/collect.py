"""`kdbench collect`: what is worth keeping of results folders, as a small folder for git."""

from __future__ import annotations

import click

from kdbench.core.atomic_files import user_path


@click.command(short_help="Keep what tables and figures are made of in a small folder.")
@click.argument("name")
@click.option("--results", "folders", multiple=True, metavar="DIR",
              help="The results folder (default: results); several, of several machines, are joined.")  # fmt: skip
@click.option("--preset", help="Only results of this preset.")
@click.option("--out", metavar="DIR", help="The folder to write (default: results/NAME).")
def command(name: str, folders: tuple[str, ...], preset: str | None, out: str | None) -> None:
    """Write the results of a study under a name, for git or another machine.

    Specs, scores, costs, curves and predicted classes are kept; networks, logs and checkpoints are not, nor what tells
    who ran it, and where. Give the folder as --results to table, figure, compare, status, show or list, and they say
    what they said before. The same results give the same bytes. Collecting again replaces what was collected.
    """
    from kdbench.reporting import printing, show_collected
    from kdbench.results.archive.write import check_target, collect_study

    target = user_path(out or f"results/{name}")
    check_target(name, target)
    stores = [printing.open_store(folder) for folder in folders or (None,)]
    show_collected.show(collect_study(name, stores, target, preset), stores, printing.make_console())
