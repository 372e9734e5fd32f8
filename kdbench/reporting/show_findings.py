"""What the conformance checks found."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from kdbench.reporting import printing
from kdbench.training.conformance.suite import Finding, Verdict

SIGNS: dict[Verdict, tuple[str, str]] = {
    "passed": ("ok    ", "green"),
    "failed": ("FAILED", "bold red"),
    "not applicable": ("--    ", "dim"),
}


def show(finding: Finding, console: Console) -> Verdict:
    """One check, a line; what a failure means below it."""
    sign, style = SIGNS[finding.verdict]
    tail = f"{finding.text}" if finding.text else ""
    printing.print_line(console, Text.assemble((sign, style), f"  {finding.check.name:<15} ", tail))
    if finding.verdict == "failed":
        printing.print_note(console, f"{'':24}{finding.check.meaning}")
    return finding.verdict


def close(name: str, verdicts: Sequence[Verdict], seconds: float, console: Console) -> None:
    """The last line."""
    counts = [f"{verdicts.count(kind)} {kind}" for kind in SIGNS if kind in verdicts]
    printing.print_line(console, f"{name}: {', '.join(counts)}, in {seconds:.0f} s.")
