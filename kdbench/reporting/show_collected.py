"""What was collected, and how small it became."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.core.formatting import count
from kdbench.reporting import printing
from kdbench.results.store import Store
from kdbench.results.study import studies

if TYPE_CHECKING:
    from rich.console import Console


def show(study: Store, stores: Iterable[Store], console: Console) -> None:
    """How many runs it has, and its size beside that of the folders it is from."""
    runs = {run_id: run for found in studies(study) for run_id, run in found.runs.items()}
    counts = Counter(printing.status_word(run.state.status) for run in runs.values())
    words = ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
    before = sum(_bytes(store.root) for store in stores)
    printing.print_line(
        console,
        f"Wrote {study.root}: {count(len(runs), 'run')} ({words}); {_bytes(study.root) / 1e6:.2f} MB of "
        f"{before / 1e6:.2f} MB.",
    )
    printing.print_line(console, f"To show it: kdbench table 1 --results {study.root}")


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
