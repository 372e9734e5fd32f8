"""`kdbench audit`: published numbers held against one another."""

from __future__ import annotations

import click


@click.command(short_help="Recompute the averages of the published tables, and look for what does not fit.")
@click.option("--format", "form", default="terminal", help="terminal (default), markdown, latex or csv.")
@click.option("--out", metavar="FILE", help="Write to a file instead.")
def command(form: str, out: str | None) -> None:
    """Recompute the published averages under the formula that our tables use, and name the formula that gives each.

    Repeated cells, odd ones, and rows that have two averages are listed. No results are needed.
    """
    from kdbench.audits import AUDITS
    from kdbench.views import printing
    from kdbench.views.sheet import render
    from kdbench.views.table import check_format

    check_format(form)
    sheets = [sheet for audit in AUDITS.all().values() for sheet in audit().sheets()]
    printing.emit(out, lambda console: render(sheets, form, console))
