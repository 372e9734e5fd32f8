"""Choose torch's float32 matrix product, by measured error.

torch's plain product is not the fastest on every processor. Its setting `medium` uses oneDNN, which on some processors
is twice as fast and equally exact, and on those with bfloat16 units rounds to bfloat16. So its error is measured first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

PLAIN, FAST = "highest", "medium"  # names of torch's settings
MAX_ERROR_RATIO = 10.0  # times the plain product's error; oneDNN's own float32 has 1.5, bfloat16 10,000
ROWS, INNER = 128, 384


def choose_setting(device: torch.device) -> str:
    """Return the setting for `fp32-fast`: fast, unless the CPU's fast product is less exact than float32.

    On a GPU the fast product is TF32, which is accepted.
    """
    if device.type != "cpu":
        return FAST
    return FAST if product_error(FAST, device) <= MAX_ERROR_RATIO * product_error(PLAIN, device) else PLAIN


def describe_precision(device: torch.device) -> dict[str, float]:
    """Return the error of float32 products under the current setting, for environment.json."""
    return {"matmul_error": float(f"{product_error(torch.get_float32_matmul_precision(), device):.1e}")}


@contextmanager
def exact_float32(device: torch.device) -> Iterator[None]:
    """Compute products in full float32 within the block, also inside autocast."""
    setting = PLAIN if device.type != "cpu" else torch.get_float32_matmul_precision()
    with use_setting(setting), torch.autocast(device.type, enabled=False):
        yield


class ExactProduct(torch.autograd.Function):
    """Multiply two tensors of equal batch dimensions in full float32, forward and back, inside autocast too."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        """Return a @ b."""
        ctx.save_for_backward(a, b)
        with exact_float32(a.device):
            return a @ b

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of both factors; autocast may be on, as it is in a run's whole step."""
        a, b = ctx.saved_tensors
        with exact_float32(grad.device):
            return grad @ b.mT, a.mT @ grad


def product_error(setting: str, device: torch.device, dtype: torch.dtype = torch.float32) -> float:
    """Measure the largest error of a product of random matrices under a setting, relative to its largest element."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(shape, generator=generator) for shape in ((ROWS, INNER), (INNER, ROWS)))
    exact = a.double() @ b.double()
    with use_setting(setting), torch.autocast(device.type, enabled=False):
        product = (a.to(device, dtype) @ b.to(device, dtype)).cpu()
    return float((product - exact).abs().max() / exact.abs().max())


@contextmanager
def use_setting(setting: str) -> Iterator[None]:
    """Use a setting for float32 products within the block."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(setting)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
