"""`kdbench figure`: draw a figure from stored results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kdbench.cli.results_option import results_option
from kdbench.cli.study_options import study_options

if TYPE_CHECKING:
    from kdbench.reporting.study_choice import StudyChoice


@click.command(short_help="Draw a figure of the paper, curves or scores from your results.")
@click.argument("number", metavar="N|NAME|all")
@click.option("--out", metavar="FILE", help="PDF, SVG, PNG or CSV by its ending (default: figureN.pdf here); "
              "with all, a folder (default: figures).")  # fmt: skip
@click.option("--format", "form", help="pdf (default), svg, png or csv; csv without --out is printed.")
@click.option("--width", default="column", help="column (3.3 inches, default), page (6.8), or a number of inches.")
@study_options(tasks="Tasks to draw, one file each (default: the task that the paper draws). "
               "Curves and scores have one panel a task (default: all tasks).")  # fmt: skip
@results_option()
def command(
    number: str, out: str | None, form: str | None, width: str, choice: StudyChoice, results: str | None
) -> None:  # fmt: skip
    """Draw figure N of the paper, one of the figures below, or `all` figures that have results.

    `curves` shows selection scores over training, `scores` shows scores with 95 % intervals, `reliability` shows
    accuracy by confidence, `risk-coverage` shows errors among the most confident answers, `ranks` shows mean ranks over
    tasks with the critical difference, `pareto` shows scores by latency and size, `confusion` shows true and
    predicted classes. One file is written for every study in the results folder, of `confusion` for every row and task.

    A study holds what may be compared: one preset on the same models, data and splits. Nothing is trained or loaded.
    The same results give the same bytes. The notes for the caption are printed below the name of each file. CSV holds
    the points, one record a seed, with the mean and the sample standard deviation or interval that are drawn.
    """
    from kdbench.reporting import printing
    from kdbench.reporting.show_figure import FigureChoice, show_figure

    store = printing.open_store(results)
    show_figure(number, store, FigureChoice(**vars(choice), form=form, out=out, width=width), printing.make_console())
