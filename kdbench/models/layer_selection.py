"""Build a network from a selection of another network's encoder layers."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from kdbench.core.errors import UserError
from kdbench.core.lazy_torch import nn, torch

WHOLE = "name a whole model (student=, teacher=, or the method's option that names one: kdbench show METHOD)"


def keep_layers(model: Any, kept: Sequence[int], attention: str, name: str) -> Any:
    """Copy a network with a selection of its encoder layers, in the given order.

    The copy is built from a configuration with that many layers, so that it equals the network loaded from its saved
    files. The generators are left unchanged.

    Args:
        kept: numbers of layers, from 0.
        attention: the attention implementation of the model.
        name: the network's name, for messages.

    Raises:
        UserError: the layers cannot be identified, or the selected ones form no network of this architecture.
    """
    layers = _layer_list(model, name)
    config = deepcopy(model.config)
    config.num_hidden_layers = len(kept)
    if types := getattr(config, "layer_types", None):
        config.layer_types = [types[i] for i in kept]
    # a network of that many layers, and the weights of the kept ones
    with torch.random.fork_rng(devices=[]):
        small = type(model)._from_config(config, attn_implementation=attention, dtype=model.dtype)
    weights = model.state_dict()
    moved = {
        f"{layers}.{place}.{key.removeprefix(f'{layers}.{layer}.')}": value
        for place, layer in enumerate(kept)
        for key, value in weights.items()
        if key.startswith(f"{layers}.{layer}.")
    }
    try:
        small.load_state_dict({k: v for k, v in weights.items() if not k.startswith(f"{layers}.")} | moved)
    except RuntimeError:
        raise UserError(
            f"Model '{name}': these layers alone make no {config.model_type}, whose layers are not all alike; "
            f"choose others, layer 0 first, or {WHOLE}."
        ) from None
    return small.train(model.training)


def _layer_list(model: Any, name: str) -> str:
    """Find the name of the encoder's layer list: the only outermost list of the configured length.

    Raises:
        UserError: there are none or several.
    """
    total = model.config.num_hidden_layers
    lists = [path for path, part in model.named_modules() if isinstance(part, nn.ModuleList) and len(part) == total]
    outermost = [path for path in lists if not any(path.startswith(f"{other}.") for other in lists)]
    if len(outermost) != 1:
        kind, why = (
            model.config.model_type,
            "several lists of layers" if outermost else "one set of weights for them all",
        )
        raise UserError(
            f"Model '{name}': its layers cannot be chosen, for a network of type {kind} has {why}; {WHOLE}."
        )
    found: str = outermost[0]
    return found
