"""`kdbench report`: write all results as one HTML file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kdbench.cli.results_option import results_option
from kdbench.cli.study_options import study_options
from kdbench.core.atomic_files import user_path
from kdbench.core.formatting import count, size

if TYPE_CHECKING:
    from kdbench.reporting.study_choice import StudyChoice


@click.command(short_help="Write all results as one HTML file to look at or pass on.")
@click.option("--out", metavar="FILE", default="report.html", show_default=True, help="The file to write.")
@study_options()
@results_option()
def command(out: str, choice: StudyChoice, results: str | None) -> None:
    """Write one HTML file with all results of every study.

    It holds Table 1 with each cell linked to its runs, the spread over seeds, learning curves, cost, the paper's
    figures, and all runs with settings, versions, data and the command that reproduces them.

    The file needs a browser and nothing else: no server, no network. Nothing is trained or loaded. The same results
    give the same file.
    """
    from kdbench.core.errors import UserError
    from kdbench.reporting import printing
    from kdbench.reporting.html.page import write_report

    path = user_path(out)
    if path.is_dir():
        raise UserError(f"--out {out} is a folder; give a file, such as {path / 'report.html'}.")
    studies, runs = write_report(printing.open_store(results), choice, path)
    words = f"{count(runs, 'run')} of {studies} {'study' if studies == 1 else 'studies'}"
    printing.print_line(printing.make_console(), f"Wrote {out}: {words}, {size(path.stat().st_size)}.")
