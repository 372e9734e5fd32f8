"""`kdbench verify`: check the files of a results folder for damage."""

from __future__ import annotations

import click

from kdbench.cli.results_option import results_option


@click.command(short_help="Check a results folder, or a collected study, for damaged files.")
@results_option("The results folder, or a collected study (default: results).")
def command(results: str | None) -> int:
    """Compare every file of every finished run with its stored checksum, and read all records.

    The files of a collected study are compared with the checksums of the collection. The exit code is 1 if a file is
    damaged.
    """
    from kdbench.reporting import printing
    from kdbench.results.verification import verify_results

    report = verify_results(printing.open_store(results))
    console = printing.make_console()
    for text in report.lines():
        printing.print_line(console, text)
    return 1 if report.damaged else 0
