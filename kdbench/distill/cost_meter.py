"""Count what training costs: the passes of each network, the time of the steps, the processor's time, the peak memory.

Only the method's own steps count, not evaluation, saving, or computations for a figure (`not_counted`). The processor's
time is that of all threads in the whole training: beside the duration it shows whether the machine had other work.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

FORWARD, TANGENT, BACKWARD = "forward", "tangent", "backward"  # tangent: forward-mode, value and derivative at once


@dataclass
class CostCounts:
    """Counts of a run over all processes that took part, as stored in checkpoints.

    Attributes:
        rows: training rows in all steps.
        passes: network -> kind -> rows that went through it.
        tables: network and quantity -> rows that a frozen network computed once for the teacher cache.
        not_counted: seconds within the training that do not count as the method's.
        peak: highest memory use, bytes.
        processor: processor seconds of all threads in the whole training; nan where a checkpoint lacks them.
    """

    rows: int = 0
    passes: dict[str, dict[str, int]] = field(default_factory=dict)
    tables: dict[str, int] = field(default_factory=dict)
    not_counted: float = 0.0
    peak: int = 0
    processor: float = 0.0


class CostMeter:
    """Count the cost of one run.

    Args:
        device: the training device; memory is the GPU's, or the process's on a CPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.counts = CostCounts()
        self._device = device
        self._paused = False  # within a `not_counted` block
        self._processor_mark = time.process_time()  # up to where `processor` has been counted
        # memory of earlier runs in this process does not count
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            with suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")

    def start(self) -> None:
        """Count the processor's time from now on: the training begins."""
        self._processor_mark = time.process_time()

    def count_pass(self, network: str, logits: Any, others: Iterable[Tensor] = ()) -> None:
        """Count the forward pass that gave these logits [B, C], and later each backward pass through them.

        Args:
            others: further outputs of the pass, such as hidden states, of which a loss may be made without the logits.
        """
        if self._paused or not isinstance(logits, Tensor):
            return
        rows = len(logits)
        derivative = forward_ad.unpack_dual(logits).tangent  # type: ignore[no-untyped-call]
        self._add(network, FORWARD if derivative is None else TANGENT, rows)
        counted: set[int] = set()  # backward passes, of which each may go through several of the outputs

        def count_backward(_: Tensor) -> None:
            number = torch._C._current_graph_task_id()
            if number not in counted:
                counted.add(number)
                self._add(network, BACKWARD, rows)

        for output in (logits, *others):
            if output.requires_grad:
                output.register_hook(count_backward)  # type: ignore[no-untyped-call]

    def count_table(self, network: str, state: str, rows: int) -> None:
        """Count a frozen network's pass over all training rows; a resumed run repeats it, which counts once."""
        self.counts.tables[f"{network} {state}"] = rows

    def _add(self, network: str, kind: str, rows: int) -> None:
        if not self._paused:
            kinds = self.counts.passes.setdefault(network, {})
            kinds[kind] = kinds.get(kind, 0) + rows

    @contextmanager
    def not_counted(self) -> Iterator[None]:
        """Exclude the passes and the time of the block."""
        if self._paused:
            yield
            return
        self._synchronize()
        self._paused, start = True, time.perf_counter()
        try:
            yield
        finally:
            self._synchronize()
            self._paused = False
            self.counts.not_counted += time.perf_counter() - start

    def _synchronize(self) -> None:
        """Wait for a GPU, which works asynchronously, so that its time is attributed correctly."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def state(self) -> dict[str, Any]:
        """Return the counts for a checkpoint."""
        self.counts.peak = max(self.counts.peak, _peak_memory(self._device))
        now = time.process_time()
        self.counts.processor += now - self._processor_mark
        self._processor_mark = now
        return asdict(self.counts)

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self.counts = CostCounts(**{"processor": math.nan, **state})

    def report(self, seconds: float) -> dict[str, Any]:
        """Return the content of cost.json.

        Args:
            seconds: duration of the whole training.

        Returns:
            step_seconds: duration of the steps alone.
            rows: training rows in all steps.
            passes: rows through each network, by kind.
            peak_memory: bytes, None where unknown.
            cpu_seconds: processor time of all threads in the whole training, None where unknown.
        """
        passes = {network: dict(kinds) for network, kinds in self.counts.passes.items()}
        for key, rows in self.counts.tables.items():
            kinds = passes.setdefault(key.partition(" ")[0], {})
            kinds[FORWARD] = kinds.get(FORWARD, 0) + rows
        counts = self.state()
        processor = None if math.isnan(counts["processor"]) else round(counts["processor"], 2)
        return {
            "step_seconds": round(seconds - self.counts.not_counted, 3), "rows": self.counts.rows, "passes": passes,
            "peak_memory": counts["peak"] or None, "cpu_seconds": processor,
        }  # fmt: skip


def _peak_memory(device: torch.device) -> int:
    """Return bytes allocated by torch on a GPU, else the resident memory of the whole process; 0 where unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        return 1024 * int(found[1]) if found else 0
    return 0
