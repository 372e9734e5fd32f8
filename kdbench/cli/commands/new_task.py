"""`kdbench new-task`: look at a data file and write the declaration of a task."""

from __future__ import annotations

import click


@click.command(short_help="Look at a data file and write the declaration of a task.")
@click.argument("data", metavar="FILE")
@click.option("--name", default="", help="The task's name (default: that of the file or its folder).")
@click.option("--dev", metavar="FILE", default="", help="Rows that select checkpoints.")
@click.option("--test", metavar="FILE", default="", help="Rows that tables report.")
@click.option("--text", metavar="COLUMN[,COLUMN]", default="", help="The column of the texts, or two for pairs.")
@click.option("--label", metavar="COLUMN", default="", help="The column of the labels.")
@click.option("--kind", default="", help="classification or regression (default: by the labels).")
@click.option("--encoding", default="utf-8", help="The encoding of text files (default: utf-8).")
def command(data: str, name: str, dev: str, test: str, text: str, label: str, kind: str, encoding: str) -> None:
    """Write tasks/NAME.toml for a CSV, TSV, JSON, JSON-lines or Parquet file, a folder of such files or of the datasets
    library, or a data set of the Hugging Face hub (hf:OWNER/NAME@REVISION:CONFIG).

    Splits are found by the names of files beside FILE, columns by their names and values. What is guessed is printed;
    what is not clear stops with the choices. The file that is written can be edited and committed.
    """
    from kdbench.core.errors import UserError
    from kdbench.data.new_declaration import Wishes, declare, split_columns
    from kdbench.reporting import printing

    made = declare(Wishes(data, dev, test, split_columns(text), label, kind, encoding, name))
    if not made.is_new:
        raise UserError(f"{made.told[0]} Give another --name for a second declaration.")
    made.write()
    console = printing.make_console()
    command = f"kdbench run --tasks {made.name} --methods kd,lgtm"
    ways = (f"run it: {command}", f"with pre-trained networks: {command} --preset minilm")
    for line in (*made.told, *made.remarks, f"wrote {made.path}", *ways):
        printing.print_line(console, line)
