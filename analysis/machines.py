"""Name the machines of runs, and tell whether their times can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kdbench.core.formatting import count
from kdbench.results.study import Run


def machine_note(runs: Iterable[Run]) -> str:
    """Name the machine of the times, or warn that they come from several; "" without runs."""
    places = sorted({_place(run.environment) for run in runs})
    if len(places) > 1:
        return f"The times cannot be compared: they are of different machines ({'; '.join(places)})."
    return f"Measured on: {places[0]}." if places else ""


def _place(environment: Mapping[str, Any]) -> str:
    """Describe a machine."""
    if not environment:
        return "one that is not known"
    device = environment.get("gpu") or f"{environment['cpu']}, {count(environment['threads'], 'thread')}"
    size = environment.get("micro_batch")
    return f"{device}{f', {size} rows in memory at once' if size else ''}"
