"""Time of steps, and memory of the process."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch


class Stopwatch:
    """Laps of a training loop.

    Args:
        warmup: laps that do not count.
        device: of the steps. A GPU notes the time of each lap itself, so that no step waits for it.
    """

    def __init__(self, warmup: int, device: str = "cpu") -> None:
        self._warmup, self._device = warmup, torch.device(device)
        self._laps: list[Any] = []  # seconds, or events of the GPU

    def lap(self, *_: object, **__: object) -> None:
        """Note that a step has ended. Takes any arguments, so that it can be a hook."""
        if self._device.type == "cuda":
            self._laps.append(torch.cuda.Event(enable_timing=True))  # type: ignore[no-untyped-call]
            self._laps[-1].record()
        else:
            self._laps.append(time.perf_counter())

    def seconds(self, steps: int) -> float:
        """Measure `steps` steps after the warm-up.

        Raises:
            RuntimeError: there were not as many.
        """
        if len(self._laps) != self._warmup + steps:
            raise RuntimeError(f"{len(self._laps)} steps were made, not {self._warmup} + {steps}")
        first, last = self._laps[self._warmup - 1], self._laps[-1]
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            return float(first.elapsed_time(last)) / 1000
        return float(last - first)


def peak_memory() -> int:
    """Bytes of this process at their highest, libraries included; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return 1024 * int(found[1]) if found else 0


@contextmanager
def seconds_of(owner: type, name: str) -> Iterator[list[float]]:
    """Seconds of every call of a class's method within the block."""
    seconds: list[float] = []
    made = getattr(owner, name)

    def timed(*args: Any) -> Any:
        start = time.perf_counter()
        found = made(*args)
        seconds.append(time.perf_counter() - start)
        return found

    with patch.object(owner, name, timed):
        yield seconds
