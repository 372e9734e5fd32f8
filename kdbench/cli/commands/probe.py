"""`kdbench probe`: score trained networks on other data and on changed texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kdbench.cli.results_option import results_option
from kdbench.cli.study_options import study_options

if TYPE_CHECKING:
    from kdbench.reporting.study_choice import StudyChoice


@click.command(short_help="Score trained networks on other data, or with typing errors, without training.")
@click.argument("rows")
@click.option("--data", metavar="FILE", default="", help="Other data with the same labels, as kdbench run --data reads "
              "it: a file, FILE#PART, or hf:OWNER/NAME#SPLIT.")  # fmt: skip
@click.option("--text", metavar="COLUMN[,COLUMN]", default="", help="The column of the texts, or two for pairs.")
@click.option("--label", metavar="COLUMN", default="", help="The column of the labels.")
@click.option("--encoding", default="utf-8", show_default=True, help="The encoding of text files.")
@click.option("--labels", metavar="LABEL=CLASS+CLASS,...", default="", help="Which classes of the task count as which "
              "label of the file (default: those of the same name, or number).")  # fmt: skip
@click.option("--perturb", default="all", show_default=True, help="typos, case, punctuation, a list, all or none.")
@click.option("--rate", type=click.FloatRange(0, 1), default=0.1, show_default=True, help="Share of words with a typo.")
@click.option("--seed", type=int, default=0, show_default=True, help="The seed of the typing errors.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--format", "form", help="terminal (default), markdown, latex, csv or json.")
@click.option(
    "--out", metavar="FILE", help="Write to a file, in the format of its ending: .txt, .md, .tex, .csv or .json."
)
@study_options("methods", tasks="Tasks of the networks (default: all that they were trained on).")
@results_option()
def command(
    rows: str, data: str, text: str, label: str, encoding: str, labels: str, perturb: str, rate: float, seed: int,
    device: str, form: str | None, out: str | None, choice: StudyChoice, results: str | None,
) -> None:  # fmt: skip
    """Score the networks of ROWS (`kd,lgtm`, `teacher`, `all`, or one RUN) where they were not trained to be right.

    The table has the score on the task's own reported rows, on the other data, and on the reported rows with small
    changes that keep their labels; and how much lower each is, with its interval.
    """
    from kdbench.data.labelled_file import read_labelled_file
    from kdbench.data.new_declaration import split_columns
    from kdbench.reporting import printing
    from kdbench.reporting.formats.text import render
    from kdbench.reporting.probe_rows import ProbeRequest, choose_perturbations, probe_tables
    from kdbench.reporting.show_table import format_of

    chosen, changes = format_of(form, out), choose_perturbations(perturb)
    store = printing.open_store(results, raw=True)
    read = read_labelled_file(data, split_columns(text), label, encoding) if data else []
    request = ProbeRequest(rows, data, read, labels, changes, seed, rate, device)
    sheets = probe_tables(store, choice, request)
    printing.write_output(out, lambda console: render(sheets, chosen, console))
