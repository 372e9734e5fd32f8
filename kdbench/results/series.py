"""Series of numbers that a run appends while it trains, one JSON object a line.

A row is {step, epoch, split, key, value}. `value` is a number, or a list with one number a probe sample.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdbench.core.atomic_files import write_text


@dataclass(frozen=True)
class SeriesMark:
    """The size of a series file when a checkpoint was written, and a hash of its content."""

    size: int = 0  # bytes
    digest: str = hashlib.sha256().hexdigest()

    def fits(self, path: Path) -> bool:
        """Return whether the file still begins with the content at the mark."""
        return hashlib.sha256(_start(path, self.size)).hexdigest() == self.digest


def _start(path: Path, size: int) -> bytes:
    return path.read_bytes()[:size] if path.exists() else b""


class SeriesFile:
    """The series file of a run that is being trained.

    Args:
        path: the file. Rows behind `mark` were written by an interrupted process after its last checkpoint; they are
            dropped, because the resumed run writes them again.
        steps_per_epoch: converts steps to epochs.
    """

    def __init__(self, path: Path, mark: SeriesMark, steps_per_epoch: int) -> None:
        self.path, self._per_epoch = path, steps_per_epoch
        kept = _start(path, mark.size)
        self._size, self._hash = len(kept), hashlib.sha256(kept)
        write_text(path, kept.decode())

    @property
    def mark(self) -> SeriesMark:
        """Return the mark at the present end of the file."""
        return SeriesMark(self._size, self._hash.hexdigest())

    def add(self, step: int, split: str, values: Mapping[str, float | list[float]]) -> None:
        """Append one row for each value. `step` counts finished steps."""
        row = {"step": step, "epoch": round(step / self._per_epoch, 4), "split": split}
        lines = [json.dumps({**row, "key": key, "value": _rounded(value)}) + "\n" for key, value in values.items()]
        written = "".join(lines).encode()
        with self.path.open("ab") as handle:
            handle.write(written)
        self._size += len(written)
        self._hash.update(written)


def _rounded(value: float | list[float]) -> Any:
    """Round to nine digits, enough for float32; None for values that are not finite."""
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    return float(f"{value:.9g}") if math.isfinite(value) else None


def read_series(path: Path, splits: Collection[str] = ()) -> Iterator[dict[str, Any]]:
    """Yield the rows of a series file without damaged lines.

    Args:
        splits: yield only rows of these; other lines, which may be much longer, are not parsed.
    """
    if not path.exists():
        return
    marks = [f'"split": {json.dumps(split)}' for split in splits]
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if marks and not any(mark in line for mark in marks):
            continue
        try:
            row = json.loads(line)
            if isinstance(row, dict) and {"step", "split", "key", "value"} <= row.keys():
                yield row
        except ValueError:
            continue
