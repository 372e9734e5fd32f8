"""A pass over a batch in pieces of some rows: the same outputs in less memory.

A piece's activations are dropped when its outputs are there and made again in the backward pass, so at most one piece's
are in memory at once. Nothing else is divided: losses are of the whole batch's outputs, and dropout draws the whole
batch's mask and takes the piece's rows of it.

Of networks it is asked that whatever they drop out has the rows as its first dimension, or no rows at all, and that
they drop out with `torch.nn.functional.dropout` (`nn.Dropout` does) or in `scaled_dot_product_attention`, called by
themselves and not by `nn.MultiheadAttention` or a recurrent layer: those would drop the same in every piece.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

from kdbench.models.packed_dropout import scaled_mask, torchs_mask

Network = Callable[..., Any]
Draw = Callable[[Sequence[int], float, Tensor], Tensor]
Surroundings = Callable[[], AbstractContextManager[None]]


def in_pieces(network: Network, inputs: Mapping[str, Tensor], rows: int, around: Surroundings = nullcontext) -> Any:
    """`network(**inputs)`, some rows at a time: the undivided pass, but for the order in which floats are added up.

    The generators are left where an undivided pass leaves them.

    Args:
        network: gives tensors [B, ...], alone or in tuples or mappings; what else it gives becomes None.
        inputs: tensors [B, ...].
        rows: how many a piece has; 0, or as many as there are, does not divide.
        around: the context of every pass over a piece, those that the backward pass repeats included.
    """
    size = len(next(iter(inputs.values())))
    if not 0 < rows < size:
        return network(**inputs)
    generators = _generators(next(iter(inputs.values())).device)
    before = [generator.get_state() for generator in generators]
    parts = []
    for first in range(0, size, rows):
        for generator, state in zip(generators, before, strict=True):
            generator.set_state(state)
        piece = {name: value[first : first + rows] for name, value in inputs.items()}
        parts.append(_pass(network, piece, first, size, around))
    return _joined(parts)


def _pass(network: Network, piece: Mapping[str, Tensor], first: int, size: int, around: Surroundings) -> Any:
    """The network over one piece, which begins at row `first` of `size`."""
    count = len(next(iter(piece.values())))

    def run(inputs: Mapping[str, Tensor]) -> Any:
        with around(), _WholeMasks(first, count, size):
            return network(**inputs)

    if not torch.is_grad_enabled():
        return run(piece)
    # remembers autocast and the generators' states, and restores them when it runs the piece again
    return checkpoint(run, piece, use_reentrant=False)


class _WholeMasks(TorchFunctionMode):
    """Within the block, dropout on a piece of a batch does to its rows what it would do to them in the whole batch.

    Args:
        first: the piece's first row.
        count: its rows.
        size: the batch's rows, B.
    """

    def __init__(self, first: int, count: int, size: int) -> None:
        super().__init__()
        self.first, self.count, self.size = first, count, size

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is functional.dropout:
            func = self._dropout
        elif func is functional.scaled_dot_product_attention:
            func = self._attention
        return func(*args, **(kwargs or {}))

    def _dropout(
        self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, draw: Draw = scaled_mask
    ) -> Tensor:
        """`functional.dropout`, with the whole batch's draws; what has no rows is the same in every piece."""
        if not training or not 0 < p < 1 or input.shape[:1] != (self.count,):
            return functional.dropout(input, p, training, inplace)
        shape, rows = (self.size, *input.shape[1:]), slice(self.first, self.first + self.count)
        if input.is_cuda:  # where dropout draws in a kernel of its own, and does not round the factor to the type
            kept = functional.dropout(input.new_ones(shape), p)[rows] != 0
            return input * kept * (1 / (1 - p))
        return input * draw(shape, p, input)[rows].clone()  # else the whole batch's would be kept for the backward pass

    def _attention(
        self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None,
        dropout_p: float = 0.0, is_causal: bool = False, **more: Any,
    ) -> Tensor:  # fmt: skip
        """`scaled_dot_product_attention` [B, heads, L, H], with dropout where it can be seen.

        The masks are those that torch's own kernel `MATH` would draw, which is the one it takes on the CPU. Its fused
        kernels on CUDA draw others: there a divided pass with `attention=sdpa` differs from an undivided one as
        another seed would.
        """
        attend = functional.scaled_dot_product_attention
        if not dropout_p:
            return attend(query, key, value, attn_mask, 0.0, is_causal, **more)
        one = torch.eye(value.shape[-2], dtype=value.dtype, device=value.device)
        shares = attend(query, key, one.expand(*value.shape[:-1], -1), attn_mask, 0.0, is_causal, **more)
        return self._dropout(shares, dropout_p, draw=torchs_mask) @ value


def _generators(device: torch.device) -> list[torch.Generator]:
    """Those that a pass on a device draws from."""
    cpu = torch.default_generator
    return [cpu, torch.cuda.default_generators[device.index]] if device.type == "cuda" else [cpu]


def _joined(parts: Sequence[Any]) -> Any:
    """The pieces' outputs as one, field by field."""
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(list(parts))
    if isinstance(first, Mapping):
        return type(first)(**{key: _joined([part[key] for part in parts]) for key in first})
    if isinstance(first, tuple | list):
        return tuple(_joined(fields) for fields in zip(*parts, strict=True))
    return None
