"""`kdbench table`: a table of the paper from stored results."""

from __future__ import annotations

import click


@click.command(short_help="Print a table of the paper from your results.")
@click.argument("number", metavar="N")
@click.option("--format", "form", default="terminal", help="terminal (default), markdown, latex or csv.")
@click.option("--preset", help="Only results of this preset.")
@click.option("--results", metavar="DIR", help="The results folder (default: results).")
@click.option("--out", metavar="FILE", help="Write to a file instead.")
def command(number: str, form: str, preset: str | None, results: str | None, out: str | None) -> None:
    """Print table N, once for every study in the results folder.

    A study is what may be compared: one preset on the same models, data and splits. Nothing is trained or loaded; the
    same results give the same table. CSV holds the unrounded numbers behind the table, one a record.
    """
    from kdbench.views import printing
    from kdbench.views.table import show_table

    store = printing.open_store(results)
    if out is None:
        show_table(number, store, preset, form, printing.make_console())
        return
    import io
    from pathlib import Path

    from rich.console import Console

    from kdbench.files import write_text

    text = io.StringIO()
    show_table(number, store, preset, form, Console(file=text, width=printing.LOG_WIDTH, highlight=False))
    write_text(Path(out).expanduser(), text.getvalue())
    printing.line(printing.make_console(), f"Wrote {out}.")
