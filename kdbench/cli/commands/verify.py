"""`kdbench verify`: is everything that runs left behind still what they wrote?"""

from __future__ import annotations

import click


@click.command(short_help="Check a results folder, or a collected study, for damaged files.")
@click.option("--results", metavar="DIR", help="The results folder, or a collected study (default: results).")
def command(results: str | None) -> int:
    """Compare every file of every finished run with the checksum that was kept of it, and read all records.

    A collected study is compared with its own checksums. The exit code is 1 when something is damaged.
    """
    from kdbench.reporting import printing
    from kdbench.results.verification import verify_results

    report = verify_results(printing.open_store(results))
    console = printing.make_console()
    for text in report.lines():
        printing.print_line(console, text)
    return 1 if report.damaged else 0
