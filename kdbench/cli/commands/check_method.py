"""`kdbench check-method`: run the conformance checks on a method, and print the verdicts."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from kdbench.training.conformance.suite import Finding, Verdict

SIGNS: dict[Verdict, tuple[str, str]] = {  # text and style
    "passed": ("ok    ", "green"),
    "failed": ("FAILED", "bold red"),
    "not applicable": ("--    ", "dim"),
}


@click.command(short_help="Check that a method, yours or ours, follows the rules for methods.")
@click.argument("method", metavar="NAME|FILE")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="A setting, as with kdbench run.")
@click.option("--only", metavar="CHECK[,...]", help="Run only these checks.")
def command(method: str, sets: tuple[str, ...], only: str | None) -> int:
    """Train a method for a few steps on synthetic data, and check gradients, weights, limits, seeds and splits.

    Prints which checks failed and what a failure means; the exit code is 1 if one failed. Takes under a minute.

    \b
    kdbench check-method lgtm
    kdbench check-method ~/my_method.py
    kdbench check-method kd --set temperature=4
    """
    from kdbench.distill.method import METHODS
    from kdbench.distill.method_files import row_of
    from kdbench.planning import config, config_check
    from kdbench.reporting import printing
    from kdbench.training.conformance import suite

    # the method and its settings
    name = row_of(method)
    own = METHODS.files.get(config.method_of_row(name).name)
    settings = config.parse_sets(sets)
    config_check.check_no_unread(settings, [name])
    chosen = [part.strip() for part in only.split(",")] if only else []
    # every verdict is printed as soon as its check has ended
    console = printing.make_console()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="kdbench-check-") as folder:
        found = suite.examine(
            Path(folder), name, sets=settings, file=Path(own.path) if own else None, only=chosen,
        )  # fmt: skip
        verdicts = [_print_finding(finding, console) for finding in found]
    counts = ", ".join(f"{verdicts.count(kind)} {kind}" for kind in SIGNS if kind in verdicts)
    printing.print_line(console, f"{name}: {counts}, in {time.perf_counter() - started:.0f} s.")
    return 1 if "failed" in verdicts else 0


def _print_finding(finding: Finding, console: Console) -> Verdict:
    """Print the verdict of one check in a line and, below it, what a failure means."""
    from rich.text import Text

    from kdbench.reporting import printing

    sign, style = SIGNS[finding.verdict]
    printing.print_line(console, Text.assemble((sign, style), f"  {finding.check.name:<15} ", finding.text or ""))
    if finding.verdict == "failed":
        printing.print_note(console, f"{'':24}{finding.check.meaning}")
    return finding.verdict
