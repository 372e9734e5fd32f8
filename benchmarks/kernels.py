"""Kernels, chosen for contestants that are not kdbench (whose runs choose for themselves)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from benchmarks.work import RATE, How


@contextmanager
def product(how: How) -> Iterator[None]:
    """The float32 matrix product, as kdbench's precisions `fp32` and `fp32-fast` have it."""
    torch.use_deterministic_algorithms(False)  # torch's default, which runs of kdbench change
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision({"fp32": "highest", "fp32-fast": "medium"}[how.precision])
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def adamw(params: Iterable[Tensor], how: How) -> torch.optim.AdamW:
    """torch's own default implementation unless `how` says fused."""
    return torch.optim.AdamW(params, lr=RATE, weight_decay=0.0, fused=how.fused or None)


def linear(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """A rate that falls linearly to 0."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1 - step / steps))
