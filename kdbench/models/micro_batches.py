"""Run a network over a batch in micro-batches, for the same outputs in less memory.

The activations of a micro-batch are freed after its forward pass and recomputed in the backward pass, so at most one
micro-batch's are in memory. Losses are computed from the whole batch's outputs. Dropout draws the mask of the whole
batch and uses the micro-batch's rows of it.

Networks must apply dropout to tensors whose first dimension is the row, or that have no row dimension, through
`torch.nn.functional.dropout` (as `nn.Dropout` does) or `scaled_dot_product_attention`. `nn.MultiheadAttention` and
recurrent layers call dropout internally and would use the same mask in every micro-batch.
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

from kdbench.models.packed_dropout import plain_mask, scaled_mask

Network = Callable[..., Any]
Draw = Callable[[Sequence[int], float, Tensor], Tensor]
PassContext = Callable[[], AbstractContextManager[None]]


def run_in_micro_batches(
    network: Network, inputs: Mapping[str, Tensor], rows: int, around: PassContext = nullcontext
) -> Any:
    """Compute `network(**inputs)` in micro-batches; only the order of floating-point sums differs from one pass.

    Random generators end in the same state as after one pass.

    Args:
        network: returns tensors [B, ...], alone or in tuples or mappings; other values become None.
        inputs: tensors [B, ...].
        rows: rows of a micro-batch; 0, or at least B, is one pass.
        around: a context for every pass over a micro-batch, including the repeated one in the backward pass.
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
        micro_batch = {name: value[first : first + rows] for name, value in inputs.items()}
        parts.append(_run_micro_batch(network, micro_batch, first, size, around))
    return _concatenate(parts)


def _run_micro_batch(
    network: Network, micro_batch: Mapping[str, Tensor], first: int, size: int, around: PassContext
) -> Any:
    """Run the network on the micro-batch that begins at row `first` of `size`."""
    count = len(next(iter(micro_batch.values())))

    def run(inputs: Mapping[str, Tensor]) -> Any:
        with around(), _BatchDropout(first, count, size):
            return network(**inputs)

    if not torch.is_grad_enabled():
        return run(micro_batch)
    # stores autocast and generator states, and restores them for the repeated pass
    return checkpoint(run, micro_batch, use_reentrant=False)


class _BatchDropout(TorchFunctionMode):
    """Makes dropout on a micro-batch use the masks that its rows have in the whole batch.

    Args:
        first: the micro-batch's first row.
        count: its number of rows.
        size: the batch's number of rows, B.
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
        """Apply dropout with the whole batch's mask; tensors without rows get the same mask in every micro-batch."""
        if not training or not 0 < p < 1 or input.shape[:1] != (self.count,):
            return functional.dropout(input, p, training, inplace)
        shape, rows = (self.size, *input.shape[1:]), slice(self.first, self.first + self.count)
        if input.is_cuda:  # dropout's own kernel draws other masks there, and does not round the factor to the type
            kept = functional.dropout(input.new_ones(shape), p)[rows] != 0
            return input * kept * (1 / (1 - p))
        return input * draw(shape, p, input)[rows].clone()  # a view would keep the whole mask for the backward pass

    def _attention(
        self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None,
        dropout_p: float = 0.0, is_causal: bool = False, **more: Any,
    ) -> Tensor:  # fmt: skip
        """Compute `scaled_dot_product_attention` [B, heads, L, H] with explicit dropout on the attention weights.

        The masks are those of torch's `MATH` kernel, which the CPU uses. The fused CUDA kernels draw others: there
        micro-batches with `attention=sdpa` differ from one pass as much as with another seed.
        """
        attend = functional.scaled_dot_product_attention
        if not dropout_p:
            return attend(query, key, value, attn_mask, 0.0, is_causal, **more)
        # attention to the identity gives the attention weights
        identity = torch.eye(value.shape[-2], dtype=value.dtype, device=value.device)
        weights = attend(query, key, identity.expand(*value.shape[:-1], -1), attn_mask, 0.0, is_causal, **more)
        return self._dropout(weights, dropout_p, draw=plain_mask) @ value


def _generators(device: torch.device) -> list[torch.Generator]:
    """Return the generators that a pass on a device draws from."""
    cpu = torch.default_generator
    return [cpu, torch.cuda.default_generators[device.index]] if device.type == "cuda" else [cpu]


def _concatenate(parts: Sequence[Any]) -> Any:
    """Concatenate the outputs of micro-batches, field by field."""
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(list(parts))
    if isinstance(first, Mapping):
        return type(first)(**{key: _concatenate([part[key] for part in parts]) for key in first})
    if isinstance(first, tuple | list):
        return tuple(_concatenate(fields) for fields in zip(*parts, strict=True))
    return None
