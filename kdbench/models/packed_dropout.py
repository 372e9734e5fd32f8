"""Dropout masks on the CPU for less than torch asks for them.

torch draws a number for every element, which is a tenth of a small network's step and more. Here one 64-bit draw
serves four elements with 16 bits each: the probability is rounded to a multiple of 1/65536, and what is kept is scaled
by the probability in force, so that the mean stays what it was. Draws come from torch's generator, so seeds, resumed
runs and repeated passes hold as ever; the masks are others than torch's own, as with another seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import handle_torch_function, has_torch_function_unary

LEVELS = 2**16  # that 16 bits tell apart

_torchs = functional.dropout


@contextmanager
def packed() -> Iterator[None]:
    """Within the block, `nn.Dropout` and `nn.functional.dropout` draw packed masks for tensors on the CPU."""
    before = functional.dropout
    functional.dropout = _dropout
    try:
        yield
    finally:
        functional.dropout = before


def scaled_mask(shape: Sequence[int], p: float, like: Tensor) -> Tensor:
    """What dropout multiplies by: 0 with probability p, else 1 / (1 - p), drawn in the way that is in force.

    Args:
        like: gives type and device.
    """
    if functional.dropout is _dropout:
        return _packed_mask(shape, p, like)
    return torchs_mask(shape, p, like)


def torchs_mask(shape: Sequence[int], p: float, like: Tensor) -> Tensor:
    """`scaled_mask` as torch itself draws it."""
    return like.new_empty(shape).bernoulli_(1 - p).div_(1 - p)


def _packed_mask(shape: Sequence[int], p: float, like: Tensor) -> Tensor:
    count = torch.Size(shape).numel()
    draws = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)
    dropped = min(max(round(p * LEVELS), 1), LEVELS - 1)
    kept = draws.view(torch.int16)[:count].view(torch.Size(shape)) >= dropped - LEVELS // 2
    return kept.to(like.dtype).mul_(LEVELS / (LEVELS - dropped))


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """In place of `nn.functional.dropout`."""
    if has_torch_function_unary(input):
        return handle_torch_function(_dropout, (input,), input, p=p, training=training, inplace=inplace)
    if not training or inplace or not 0 < p < 1 or input.device.type != "cpu":
        return _torchs(input, p, training, inplace)
    return input * _packed_mask(input.shape, p, input)
