"""Time of steps, and memory of the process."""

from __future__ import annotations

import re
import time
from pathlib import Path


class Stopwatch:
    """Laps of a training loop.

    Args:
        warmup: laps that do not count.
    """

    def __init__(self, warmup: int) -> None:
        self._warmup = warmup
        self._laps: list[float] = []

    def lap(self, *_: object, **__: object) -> None:
        """A step has ended. Takes any arguments, so that it can be a hook."""
        self._laps.append(time.perf_counter())

    def seconds(self, steps: int) -> float:
        """Measure `steps` steps after the warm-up.

        Raises:
            RuntimeError: there were not as many.
        """
        if len(self._laps) != self._warmup + steps:
            raise RuntimeError(f"{len(self._laps)} steps were made, not {self._warmup} + {steps}")
        return self._laps[-1] - self._laps[self._warmup - 1]


def peak_memory() -> int:
    """Bytes of this process at their highest, libraries included; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return 1024 * int(found[1]) if found else 0
