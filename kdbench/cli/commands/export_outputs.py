"""`kdbench export-outputs`: write the logits of a finished run to a file."""

from __future__ import annotations

import click

from kdbench.cli.results_option import results_option


@click.command(short_help="Write a trained network's logits to a file that can be a teacher.")
@click.argument("run")
@click.option("--out", metavar="FILE", required=True, help="The file to write: .parquet, .npz, .csv, .tsv or .jsonl.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@results_option()
def command(run: str, out: str, device: str, results: str | None) -> None:
    """Write the logits of a finished run for every row of every split.

    RUN is the name of a run, or a part of it that no other run has. The file has a row for each row of the data, with
    its split, its number, and a column for each class. Give it to kdbench run as --teacher-outputs.
    """
    from kdbench.core.atomic_files import user_path
    from kdbench.core.formatting import count
    from kdbench.reporting import printing
    from kdbench.reporting.show_run import find_run
    from kdbench.training.outputs_export import export_outputs
    from kdbench.training.preflight import parse_device

    found = find_run(printing.open_store(results, raw=True), run)
    rows = export_outputs(found, user_path(out), parse_device(device))
    printing.print_line(printing.make_console(), f"Wrote the outputs of {count(rows, 'row')} to {out}.")
