"""Count the floating-point operations of a BERT's passes, of which all rates in FLOP/s are made."""

from __future__ import annotations

import time
from collections.abc import Mapping

PRODUCTS = {"forward": 1, "tangent": 3, "backward": 2}  # matrix products for each of a forward pass


def forward_operations(layers: int, hidden: int, wide: int, length: float, *, first_token: bool = True) -> float:
    """Compute the operations of one row's forward pass: two for every weight and token, and those of attention.

    Args:
        wide: width of the feed-forward layers.
        length: tokens of the row, without padding.
        first_token: of the last layer only keys and values are made of all tokens (`last_layer=first`).
    """
    weights, kept = 4 * hidden**2 + 2 * hidden * wide, 2 * hidden**2  # of a layer; of those, for keys and values
    whole = 2 * length * (weights + 2 * hidden * length)
    if not first_token:
        return float(layers * whole)
    last = 2 * length * kept + 2 * (weights - kept + 2 * hidden * length)
    return float((layers - 1) * whole + last)


def operations(passes: Mapping[str, Mapping[str, float]], forward: Mapping[str, float]) -> float:
    """Sum the operations of passes: network -> kind -> rows.

    Args:
        forward: network -> operations of one row's forward pass.
    """
    return sum(
        rows * PRODUCTS[kind] * forward[network] for network, kinds in passes.items() for kind, rows in kinds.items()
    )


def largest_rate(device: str, dtype: str, *, small: bool = False) -> float:
    """Measure the TFLOP/s of a large square matrix product, beside which a training's rate can be judged."""
    import torch

    size, repeats = (256, 2) if small else (8192, 20)
    a, b = (torch.randn(size, size, dtype=getattr(torch, dtype), device=device) for _ in range(2))
    torch.mm(a, b)
    synchronize(device)
    start = time.perf_counter()
    for _ in range(repeats):
        torch.mm(a, b)
    synchronize(device)
    return 2e-12 * size**3 * repeats / (time.perf_counter() - start)


def synchronize(device: str) -> None:
    """Wait for a GPU."""
    import torch

    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
