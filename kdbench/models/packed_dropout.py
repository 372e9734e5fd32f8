"""Faster CPU dropout: one 64-bit random draw makes four mask entries of 16 bits each.

torch draws a number for every element, which takes a tenth or more of a small network's step. With 16 bits the
probability is rounded to a multiple of 1/65536; kept elements are scaled by the rounded probability, so the mean is
preserved. Draws come from torch's generator, so results stay reproducible, but masks differ from torch's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import handle_torch_function, has_torch_function_unary

LEVELS = 2**16  # values of 16 bits

_torchs = functional.dropout


@contextmanager
def use_packed_masks() -> Iterator[None]:
    """Use packed masks in `nn.Dropout` and `nn.functional.dropout` on the CPU within the block."""
    before = functional.dropout
    functional.dropout = _dropout
    try:
        yield
    finally:
        functional.dropout = before


def scaled_mask(shape: Sequence[int], p: float, like: Tensor) -> Tensor:
    """Draw a dropout mask, 0 with probability p, else 1 / (1 - p); packed within `use_packed_masks`.

    Args:
        like: a tensor with the mask's type and device.
    """
    if functional.dropout is _dropout:
        return _packed_mask(shape, p, like)
    return plain_mask(shape, p, like)


def plain_mask(shape: Sequence[int], p: float, like: Tensor) -> Tensor:
    """Draw the mask of `scaled_mask` as torch does."""
    return like.new_empty(shape).bernoulli_(1 - p).div_(1 - p)


def _packed_mask(shape: Sequence[int], p: float, like: Tensor) -> Tensor:
    count = torch.Size(shape).numel()
    draws = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)
    dropped = min(max(round(p * LEVELS), 1), LEVELS - 1)
    kept = draws.view(torch.int16)[:count].view(torch.Size(shape)) >= dropped - LEVELS // 2
    return kept.to(like.dtype).mul_(LEVELS / (LEVELS - dropped))


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Apply dropout with packed masks where possible, in place of `nn.functional.dropout`."""
    if has_torch_function_unary(input):
        return handle_torch_function(_dropout, (input,), input, p=p, training=training, inplace=inplace)
    if not training or inplace or not 0 < p < 1 or input.device.type != "cpu":
        return _torchs(input, p, training, inplace)
    return input * _packed_mask(input.shape, p, input)
