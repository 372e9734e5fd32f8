"""`kdbench show`: print everything about a run, a cell of a table, or the options of a method."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from kdbench.cli.results_option import results_option
from kdbench.cli.study_options import study_options

if TYPE_CHECKING:
    from kdbench.reporting.study_choice import StudyChoice


@click.command(short_help="Show everything about a run, a cell of a table, or a method.")
@click.argument("name", metavar="RUN|METHOD|ROW")
@click.argument("task", metavar="[TASK]", required=False)
@study_options("tasks", "methods", preset="With TASK: only results of this preset.",
               student="With TASK: only results of this student, named as in tables or for kdbench run.")  # fmt: skip
@results_option()
def command(name: str, task: str | None, choice: StudyChoice, results: str | None) -> None:
    """Show a run (named in full, or by a part that no other run has), or a method (or variant) with its options.

    With a TASK, NAME is a row of a table (a method, a variant, or teacher). Shows the cell in that row and column: its
    numbers, the runs behind it with settings, data, versions and hardware, and the command that reproduces it.

    \b
    kdbench show lgtm
    kdbench show mrpc-lgtm-s0
    kdbench show lgtm mrpc
    """
    from kdbench.reporting import printing, show_run

    console = printing.make_console()
    if task is not None:
        from kdbench.reporting import show_cell

        show_cell.show_cell(name, task, printing.open_store(results), choice, console)
        return
    for option, value in vars(choice).items():
        if value is not None:
            raise click.UsageError(f"--{option} narrows a cell; give a task too, such as: kdbench show lgtm mrpc")
    from kdbench.reporting import show_method as methods

    # methods are not imported for what can only be a run
    could_be_method = not re.search(r"-s\d*(-|$)|^[0-9a-f]{12}$", name)
    if could_be_method and (method := methods.find_method(name)):
        methods.show_method(name, method, console)
        return
    store = printing.open_store(results)
    show_run.show_run(show_run.find_run(store, name, methods=could_be_method), store, console)
