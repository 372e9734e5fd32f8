"""Kernels, chosen for contestants that are not kdbench (whose runs choose for themselves)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from benchmarks.work import RATE, How, Precision
from kdbench.models import matmul_precision


@contextmanager
def product(how: How, device: str = "cpu") -> Iterator[None]:
    """Use the float32 matrix product that kdbench's precisions `fp32` and `fp32-fast` have on this device."""
    torch.use_deterministic_algorithms(False)  # torch's default, which runs of kdbench change
    with matmul_precision.use_setting(product_setting(how.precision, device)):
        yield


def product_setting(precision: Precision, device: str = "cpu") -> str:
    """Return torch's setting for float32 products; of `fp32-fast` it depends on the processor."""
    return matmul_precision.choose_setting(torch.device(device)) if precision == "fp32-fast" else matmul_precision.PLAIN


def adamw(params: Iterable[Tensor], how: How) -> torch.optim.AdamW:
    """torch's own default implementation unless `how` says fused."""
    return torch.optim.AdamW(params, lr=RATE, weight_decay=0.0, fused=how.fused or None)


def linear(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Return a schedule of the rate that falls linearly to 0."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1 - step / steps))
