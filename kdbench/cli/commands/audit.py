"""`kdbench audit`: check the published numbers against one another."""

from __future__ import annotations

import click


@click.command(short_help="Recompute the averages of the published tables, and list odd cells.")
@click.option("--format", "form", help="terminal (default), markdown, latex, csv or json.")
@click.option(
    "--out", metavar="FILE", help="Write to a file, in the format of its ending: .txt, .md, .tex, .csv or .json."
)
def command(form: str | None, out: str | None) -> None:
    """Recompute the published averages with our tables' formula, and name the formula that gives each average.

    Also lists repeated cells, outliers, and rows that have two different averages. No results are needed.
    """
    from kdbench.reporting import printing
    from kdbench.reporting.audits import AUDITS
    from kdbench.reporting.formats.text import render
    from kdbench.reporting.show_table import format_of

    chosen = format_of(form, out)
    sheets = [sheet for audit in AUDITS.all().values() for sheet in audit().sheets()]
    printing.write_output(out, lambda console: render(sheets, chosen, console))
