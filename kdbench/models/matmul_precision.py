"""The float32 matrix product: which of torch's to take, and how exact it is.

torch's plain product is not the fastest of every processor: `medium` sends it to oneDNN, which on some is twice as fast
and as exact, and on those with units for bfloat16 rounds to that. So the error is measured before it is trusted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

PLAIN, FAST = "highest", "medium"  # as torch calls them
MOST = 10.0  # times the plain product's error; oneDNN's own float32 has 1.5, bfloat16 10,000
ROWS, INNER = 128, 384


def choose(device: torch.device) -> str:
    """The setting for `fp32-fast`: fast, unless the CPU's fast product is less exact than float32.

    A GPU's fast product is TF32 and is taken as it is.
    """
    if device.type != "cpu":
        return FAST
    return FAST if error(FAST, device) <= MOST * error(PLAIN, device) else PLAIN


def recorded(device: torch.device) -> dict[str, float]:
    """For the record of what a run ran on: how exact float32 products are under the setting in force."""
    return {"matmul_error": float(f"{error(torch.get_float32_matmul_precision(), device):.1e}")}


@contextmanager
def exact_float32(device: torch.device) -> Iterator[None]:
    """Within the block, products are as exact as float32 is, whatever the precision around it."""
    setting = PLAIN if device.type != "cpu" else torch.get_float32_matmul_precision()
    with setting_of(setting), torch.autocast(device.type, enabled=False):
        yield


def error(setting: str, device: torch.device, dtype: torch.dtype = torch.float32) -> float:
    """The largest error of a product of random matrices under a setting, as a share of its largest element."""
    drawn = torch.Generator().manual_seed(0)
    a, b = (torch.randn(shape, generator=drawn) for shape in ((ROWS, INNER), (INNER, ROWS)))
    exact = a.double() @ b.double()
    with setting_of(setting), torch.autocast(device.type, enabled=False):
        found = (a.to(device, dtype) @ b.to(device, dtype)).cpu()
    return float((found - exact).abs().max() / exact.abs().max())


@contextmanager
def setting_of(setting: str) -> Iterator[None]:
    """Within the block, float32 products are made so."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(setting)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
