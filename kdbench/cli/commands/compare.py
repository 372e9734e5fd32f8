"""`kdbench compare`: test whether one method is better than another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kdbench.cli.results_option import results_option
from kdbench.cli.study_options import study_options

if TYPE_CHECKING:
    from kdbench.reporting.study_choice import StudyChoice


@click.command(short_help="Test whether one method is better than another.")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@study_options("methods")
@results_option()
@click.option("--format", "form", default="terminal", help="terminal (default), markdown, latex, csv or json.")
def command(first: str, second: str, choice: StudyChoice, results: str | None, form: str) -> None:
    """Compare two rows of a table (methods, variants, or teacher) on every task and on average.

    Prints both means, the difference with its 95 % interval and p-value over the seeds and reported items that both
    rows share, how many seeds would show such a difference, and a sentence for each task. Nothing is trained. The same
    results give the same numbers.
    """
    from kdbench.reporting import compare_rows, printing

    store = printing.open_store(results)
    compare_rows.show_comparison((first, second), store, choice, form, printing.make_console())
