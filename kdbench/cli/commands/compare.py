"""`kdbench compare`: test whether one method is better than another."""

from __future__ import annotations

import click

from kdbench.cli.results_option import results_option


@click.command(short_help="Test whether one method is better than another.")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--tasks", "--task", help="Compare on these tasks only: glue, or names such as mrpc,rte.")
@click.option("--preset", help="Only results of this preset.")
@results_option()
@click.option("--format", "form", default="terminal", help="terminal (default), markdown, latex or csv.")
def command(first: str, second: str, tasks: str | None, preset: str | None, results: str | None, form: str) -> None:
    """Compare two rows of a table (methods, variants, or teacher) on every task and on average.

    Prints both means, the difference with its 95 % interval and p-value over the seeds and reported items that both
    rows share, how many seeds would show such a difference, and a sentence for each task. Nothing is trained. The same
    results give the same numbers.
    """
    from kdbench.reporting import compare_rows, printing

    store = printing.open_store(results)
    compare_rows.show_comparison((first, second), store, preset, tasks, form, printing.make_console())
