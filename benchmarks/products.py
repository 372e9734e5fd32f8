"""The matrix product alone: what a network's step can at best come to on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

import torch

from benchmarks.work import PRODUCTS, Precision, Work
from kdbench.models import matmul_precision

ROWS, NARROW, WIDE = 1600, 384, 1536  # a batch's tokens; MiniLM's widths
SETTINGS: Mapping[Precision, str] = {
    "fp32": matmul_precision.PLAIN,
    "fp32-fast": matmul_precision.FAST,
    "bf16": matmul_precision.PLAIN,
}
REPEATS = 20


def play(work: Work, rounds: int) -> Iterator[dict[str, Any]]:
    """GFLOP/s of each precision's product in every round, and its largest error as a share of the largest element."""
    torch.set_num_threads(work.threads)
    device = torch.device("cpu")
    for number in range(rounds):
        for precision, setting in SETTINGS.items():
            dtype = torch.bfloat16 if precision == "bf16" else torch.float32
            with matmul_precision.use_setting(setting):
                speed = _speed(dtype)
            error = matmul_precision.product_error(setting, device, dtype)
            yield {"precision": precision, "round": number, "gflops": speed, "error": error}


def _speed(dtype: torch.dtype) -> float:
    """GFLOP/s of the product that a MiniLM's feed-forward layer makes."""
    a, b = torch.randn(ROWS, NARROW, dtype=dtype), torch.randn(NARROW, WIDE, dtype=dtype)
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        torch.mm(a, b)
        seconds.append(time.perf_counter() - start)
    return 2e-9 * ROWS * NARROW * WIDE / median(seconds)


def table(measured: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["| product | GFLOP/s | largest error |", "|---|---|---|"]
    for precision in SETTINGS:
        found = [one for one in measured if one["precision"] == precision]
        speeds = [one["gflops"] for one in found]
        speed = f"{median(speeds):.0f} ({min(speeds):.0f}-{max(speeds):.0f})"
        lines.append(f"|{PRODUCTS[precision]}|{speed}|{found[0]['error']:.0e}|")
    return lines
