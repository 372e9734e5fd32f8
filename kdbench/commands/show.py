"""`kdbench show`: everything about one run, or the options of one method."""

from __future__ import annotations

import re

import click


@click.command(short_help="Show everything about a run, or the options of a method.")
@click.argument("name", metavar="RUN|METHOD")
@click.option("--results", metavar="DIR", help="The results folder (default: results).")
def command(name: str, results: str | None) -> None:
    """Show a run (any part of its name that no other has), or a method (or variant) with its options.

    \b
    kdbench show lgtm
    kdbench show mrpc-lgtm-s0
    """
    from kdbench.views import method as methods
    from kdbench.views import printing, run

    console = printing.make_console()
    # methods are not imported for what can only be a run
    could_be_method = not re.search(r"-s\d*(-|$)|^[0-9a-f]{12}$", name)
    if could_be_method and (method := methods.find(name)):
        methods.show(name, method, console)
        return
    store = printing.open_store(results)
    run.show(run.find(store, name, methods=could_be_method), store, console)
