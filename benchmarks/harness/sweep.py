"""The tiny sweep: every method on every task, from an empty folder to the table."""

from __future__ import annotations

from pathlib import Path

from benchmarks.harness.clock import kdbench


def measure(folder: Path) -> float:
    return kdbench("run", "--methods", "all", "--tasks", "glue", folder=folder)
