"""Read the queries, keys and values of attention layers in a network's forward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from kdbench.core.errors import RunFailure

QKV = "qkv"  # a keyword of `TrainableModel.outputs`: the layers (1-based)
LINEAR_LAYERS = (("query", "key", "value"), ("q_lin", "k_lin", "v_lin"))  # of BERT and its relatives; of DistilBERT


class OutputsWithQKV(dict[str, Any]):
    """A network's outputs, with `qkv` among them, as attributes and as a mapping, which micro-batches need."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def run_with_qkv(network: Callable[..., Any], module: nn.Module, layers: Sequence[int], **inputs: Any) -> Any:
    """Run a network, and add queries, keys and values of some layers to its outputs.

    They are those after the linear maps and before the split into heads, [B, L, H] each: `outputs.qkv[i]` are the three
    of `layers[i]`.

    Args:
        network: runs `module`; it is not compiled.
        layers: numbers of encoder layers, from 1.

    Raises:
        RunFailure: the architecture has no linear maps of that kind in each layer, or they see other rows of tokens, as
            Longformer's, which are padded to its window.
    """
    maps = find_linear_maps(module)
    found: dict[tuple[int, int], Tensor] = {}

    def keep(place: tuple[int, int], _: nn.Module, __: Any, out: Tensor) -> None:
        found[place] = out

    hooks = [
        part.register_forward_hook(partial(keep, (i, j)))
        for i, layer in enumerate(layers)
        for j, part in enumerate(maps[layer - 1])
    ]
    try:
        outputs = network(**inputs)
    finally:
        for hook in hooks:
            hook.remove()
    if any(states.shape[:2] != inputs["input_ids"].shape for states in found.values()):
        raise _refusal(module)
    qkv = tuple(tuple(found[i, j] for j in range(3)) for i in range(len(layers)))
    return OutputsWithQKV({**outputs, QKV: qkv})


def find_linear_maps(module: nn.Module) -> list[tuple[nn.Module, ...]]:
    """Return the linear maps to query, key and value of every encoder layer.

    Raises:
        RunFailure: the network has none, or shares them among layers.
    """
    config: Any = module.config
    for names in LINEAR_LAYERS:
        parts = [
            [part for path, part in module.named_modules() if path.rpartition(".")[2] == name and _is_map(module, path)]
            for name in names
        ]
        if all(len(some) == config.num_hidden_layers for some in parts):
            return list(zip(*parts, strict=True))
    raise _refusal(module)


def _is_map(module: nn.Module, path: str) -> bool:
    """Return whether a part is a linear map of as many heads as the configuration names; ConvBERT's have fewer."""
    config: Any = module.config
    attention = module.get_submodule(path.rpartition(".")[0])
    heads = getattr(attention, "num_attention_heads", config.num_attention_heads)
    return isinstance(module.get_submodule(path), nn.Linear) and heads == config.num_attention_heads


def _refusal(module: nn.Module) -> RunFailure:
    config: Any = module.config
    return RunFailure(
        "setting",
        f"a network of type {config.model_type} has no query, key and value of its own in each layer; "
        "choose a BERT, RoBERTa, ELECTRA or DistilBERT.",
    )
