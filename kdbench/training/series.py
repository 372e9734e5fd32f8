"""Numbers over the course of a run: one JSON object a line, appended while it trains.

A row is {step, epoch, split, key, value}; `value` is a number, or a list with one number a probe sample.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kdbench.files import write_text


class Series:
    """The series file of a run that is being trained.

    Args:
        path: the file. Rows after `last_step` (written by an interrupted process after its last checkpoint) and
            damaged lines are dropped, because the resumed run writes them again.
        steps_per_epoch: converts steps to epochs.
    """

    def __init__(self, path: Path, last_step: int, steps_per_epoch: int) -> None:
        self.path, self._per_epoch = path, steps_per_epoch
        kept = [json.dumps(row) for row in read(path) if row["step"] <= last_step] if last_step else []
        write_text(path, "".join(f"{line}\n" for line in kept))

    def add(self, step: int, split: str, values: Mapping[str, float | list[float]]) -> None:
        """Append one row a value. `step` counts finished steps."""
        with self.path.open("a", encoding="utf-8") as handle:
            for key, value in values.items():
                row = {"step": step, "epoch": round(step / self._per_epoch, 4), "split": split, "key": key}
                handle.write(json.dumps({**row, "value": _rounded(value)}) + "\n")


def _rounded(value: float | list[float]) -> Any:
    """Nine digits: enough for float32, and no longer than needed."""
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    return float(f"{value:.9g}") if math.isfinite(value) else None


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a series file; a damaged line is passed over."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
            if isinstance(row, dict) and {"step", "split", "key", "value"} <= row.keys():
                yield row
        except ValueError:
            continue
