"""`kdbench check-method`: does a method keep what every method promises?"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click


@click.command(short_help="Check that a method, yours or ours, does what a method must.")
@click.argument("method", metavar="NAME|FILE")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="A setting, as with kdbench run.")
@click.option("--only", metavar="CHECK[,...]", help="Some of the checks.")
def command(method: str, sets: tuple[str, ...], only: str | None) -> int:
    """Train a method for a few steps on made data, and look at gradients, weights, limits, seeds and splits.

    Says which check failed and what that means; exit code 1 when one did. Takes under a minute.

    \b
    kdbench check-method lgtm
    kdbench check-method ~/my_method.py
    kdbench check-method kd --set temperature=4
    """
    from kdbench.distill.method import METHODS
    from kdbench.distill.method_files import row_of
    from kdbench.planning import config, config_check
    from kdbench.reporting import printing, show_findings
    from kdbench.training.conformance import suite

    name = row_of(method)
    own = METHODS.files.get(config.method_of_row(name).name)
    settings = config.parse_sets(sets)
    config_check.check_no_unread(settings, [name])
    chosen = [part.strip() for part in only.split(",")] if only else []
    console = printing.make_console()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="kdbench-check-") as folder:
        found = suite.examine(
            Path(folder), name, sets=settings, file=Path(own.path) if own else None, only=chosen,
        )  # fmt: skip
        verdicts = [show_findings.show(finding, console) for finding in found]
    show_findings.close(name, verdicts, time.perf_counter() - started, console)
    return 1 if "failed" in verdicts else 0
