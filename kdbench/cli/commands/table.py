"""`kdbench table`: print a table from stored results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kdbench.cli.results_option import results_option
from kdbench.cli.study_options import study_options

if TYPE_CHECKING:
    from kdbench.reporting.study_choice import StudyChoice


@click.command(short_help="Print a table of the paper from your results.")
@click.argument("number", metavar="N|NAME|all")
@click.option("--format", "form", help="terminal (default), markdown, latex, csv or json.")
@click.option("--published", is_flag=True, help="Add the paper's numbers, and the differences from them.")
@click.option("--test", is_flag=True, help="Show test-set scores, as kdbench glue import stored them.")
@click.option("--label", help="LaTeX only: the label for \\ref, such as tab:main.")
@click.option("--caption", help="LaTeX only: the caption, as LaTeX of your own that is not escaped (write \\% for %).")
@click.option("--notes", default="full", show_default=True, help="full, short (explanations of the numbers, and "
              "warnings) or none. LaTeX keeps the omitted notes as comments.")  # fmt: skip
@study_options()
@results_option()
@click.option(
    "--out", metavar="FILE", help="Write to a file, in the format of its ending: .txt, .md, .tex, .csv or .json."
)
def command(
    number: str, form: str | None, published: bool, test: bool, label: str | None, caption: str | None, notes: str,
    choice: StudyChoice, results: str | None, out: str | None,
) -> None:  # fmt: skip
    """Print table N of the paper, `scores`, `cost`, `fidelity`, `calibration`, `deploy`, or `all` that have results.

    --student, --tasks and --methods choose what is shown; signs, averages and ranks are then of what was chosen. A
    study holds what may be compared: one preset on the same models, data and splits. Nothing is trained or loaded.
    The same results give the same table. CSV holds the unrounded numbers behind the table, one a record; JSON holds
    them too, with the cells as printed and the notes.
    """
    from kdbench.reporting import printing
    from kdbench.reporting.formats.presentation import Presentation
    from kdbench.reporting.show_table import format_of, show_table

    chosen, presentation = format_of(form, out), Presentation(caption, label, notes)
    presentation.check(chosen)
    store, lacking = printing.open_store(results), list[str]()
    more = {"published": published, "test": test}
    printing.write_output(out, lambda console: lacking.extend(
        show_table(number, store, choice, chosen, console, **more, presentation=presentation)
    ))  # fmt: skip
    # to standard error, because the tables may go into a file or another program
    for sentence in lacking:
        printing.print_line(printing.make_console(stderr=True), sentence)
