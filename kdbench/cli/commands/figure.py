"""`kdbench figure`: a figure of the paper from stored results."""

from __future__ import annotations

import click


@click.command(short_help="Draw a figure from your results: of the paper, curves or scores.")
@click.argument("number", metavar="N|curves|scores|all")
@click.option("--out", metavar="FILE", help="PDF, SVG, PNG or CSV by its ending (default: figureN.pdf here); "
              "with all, a folder (default: figures).")  # fmt: skip
@click.option("--format", "form", help="pdf (default), svg, png or csv; csv without --out is printed.")
@click.option("--width", default="column", help="column (3.3 inches, default), page (6.8), or a number of inches.")
@click.option("--tasks", "--task", help="Tasks to draw, a file each (default: the one that the paper draws); of "
              "curves and scores a panel each (default: all).")  # fmt: skip
@click.option("--preset", help="Only results of this preset.")
@click.option("--results", metavar="DIR", help="The results folder (default: results).")
def command(
    number: str, out: str | None, form: str | None, width: str, tasks: str | None, preset: str | None,
    results: str | None,
) -> None:  # fmt: skip
    """Draw figure N of the paper, or what any study has: `curves` (selection scores over training) or `scores` (with
    95 % intervals). One file for every study in the results folder; `all` draws what there are results for.

    A study is what may be compared: one preset on the same models, data and splits. Nothing is trained or loaded; the
    same results give the same bytes. Below each file's name stand the notes for its caption. CSV holds the points, one
    record a seed, with the mean and the sample standard deviation or interval that are drawn.
    """
    from kdbench.reporting import printing
    from kdbench.reporting.show_figure import Wish, show_figure

    store = printing.open_store(results)
    show_figure(number, store, Wish(preset, tasks, form, out, width), printing.make_console())
