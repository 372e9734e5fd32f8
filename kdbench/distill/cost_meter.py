"""What a training costs: the passes of each network, the time apart from watching it, the memory at its highest.

Counted is what a method does in its steps. Evaluation, saving and what is only written down for a figure
(`not_counted`) are not.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

FORWARD, TANGENT, BACKWARD = "forward", "tangent", "backward"  # tangent: forward-mode, value and derivative at once


@dataclass
class Spent:
    """What is stored of it, over all processes that took part; in a checkpoint too.

    Attributes:
        rows: training rows in all steps.
        passes: network -> kind -> rows that went through it.
        tables: a frozen network's state -> rows that it was asked for once and then looked up.
        not_counted: seconds within the training that are not the method's.
        peak: bytes of memory.
    """

    rows: int = 0
    passes: dict[str, dict[str, int]] = field(default_factory=dict)
    tables: dict[str, int] = field(default_factory=dict)
    not_counted: float = 0.0
    peak: int = 0


class Meter:
    """Counts for one run.

    Args:
        device: where it trains; its memory is the GPU's, or the process's.
    """

    def __init__(self, device: torch.device) -> None:
        self.spent = Spent()
        self._device = device
        self._aside = 0  # how many `not_counted` blocks we are in
        _reset_peak(device)

    def passed(self, network: str, logits: Any) -> None:
        """A network gave these logits [B, C]; a gradient that comes back to them is counted when it comes."""
        if self._aside or not isinstance(logits, Tensor):
            return
        rows = len(logits)
        derivative = forward_ad.unpack_dual(logits).tangent  # type: ignore[no-untyped-call]
        self._add(network, FORWARD if derivative is None else TANGENT, rows)
        if logits.requires_grad:
            logits.register_hook(lambda _: self._add(network, BACKWARD, rows))  # type: ignore[no-untyped-call]

    def table(self, network: str, state: str, rows: int) -> None:
        """A frozen network was asked for all rows once; a resumed run asks again, which is not counted twice."""
        self.spent.tables[f"{network} {state}"] = rows

    def _add(self, network: str, kind: str, rows: int) -> None:
        if not self._aside:
            kinds = self.spent.passes.setdefault(network, {})
            kinds[kind] = kinds.get(kind, 0) + rows

    @contextmanager
    def not_counted(self) -> Iterator[None]:
        """What happens within the block is not part of the method."""
        if self._aside:
            yield
            return
        self._wait()
        self._aside, start = 1, time.perf_counter()
        try:
            yield
        finally:
            self._wait()
            self._aside = 0
            self.spent.not_counted += time.perf_counter() - start

    def _wait(self) -> None:
        """A GPU works behind our back: let it finish what the time so far is of."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def numbers(self) -> dict[str, Any]:
        """For a checkpoint."""
        self.spent.peak = max(self.spent.peak, _peak(self._device))
        return asdict(self.spent)

    def load(self, numbers: dict[str, Any]) -> None:
        """Take back what `numbers` gave."""
        self.spent = Spent(**numbers)

    def report(self, seconds: float) -> dict[str, Any]:
        """What cost.json holds.

        Args:
            seconds: of the whole training.

        Returns:
            step_seconds: without what is not counted; rows: training rows in all steps; passes: rows through each
            network; peak_memory: bytes, None where the system does not tell.
        """
        passes = {network: dict(kinds) for network, kinds in self.spent.passes.items()}
        for key, rows in self.spent.tables.items():
            kinds = passes.setdefault(key.partition(" ")[0], {})
            kinds[FORWARD] = kinds.get(FORWARD, 0) + rows
        peak = self.numbers()["peak"]
        return {
            "step_seconds": round(seconds - self.spent.not_counted, 3), "rows": self.spent.rows, "passes": passes,
            "peak_memory": peak or None,
        }  # fmt: skip


def _reset_peak(device: torch.device) -> None:
    """Begin anew: of earlier runs in this process only what they left behind counts."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak(device: torch.device) -> int:
    """Bytes: allocated by torch on a GPU, else resident memory of the process, libraries included; 0 where unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        return 1024 * int(found[1]) if found else 0
    return 0
