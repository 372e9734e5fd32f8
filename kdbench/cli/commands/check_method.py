"""`kdbench check-method`: run the conformance checks on a method, and print the verdicts."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click

SIGNS = {  # text and style
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
    from rich.text import Text

    from kdbench.distill.method_files import row_of
    from kdbench.distill.method_registry import METHODS
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
    started, verdicts = time.perf_counter(), list[str]()
    with tempfile.TemporaryDirectory(prefix="kdbench-check-") as folder:
        file = Path(own.path) if own else None
        for finding in suite.examine(Path(folder), name, sets=settings, file=file, only=chosen):
            line = Text.assemble(SIGNS[finding.verdict], f"  {finding.check.name:<15} ", finding.text or "")
            printing.print_line(console, line)
            if finding.verdict == "failed":
                printing.print_note(console, f"{'':24}{finding.check.meaning}")
            verdicts.append(finding.verdict)
    counts = ", ".join(f"{verdicts.count(kind)} {kind}" for kind in SIGNS if kind in verdicts)
    printing.print_line(console, f"{name}: {counts}, in {time.perf_counter() - started:.0f} s.")
    return 1 if "failed" in verdicts else 0
