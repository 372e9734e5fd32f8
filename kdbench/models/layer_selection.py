"""Make a network of some of another one's encoder layers."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from kdbench.core.errors import UserError
from kdbench.core.lazy_torch import nn, torch

WHOLE = "name a whole model (student=, teacher=, or the method's option that names one: kdbench show METHOD)"


def keep_layers(model: Any, kept: Sequence[int], attention: str, name: str) -> Any:
    """Copy a network with some of its encoder layers, in the given order; the rest stays as it is.

    The copy is built from a configuration of that many layers, so that it is what its saved files give when loaded.
    No random number is used up.

    Args:
        kept: numbers of layers, from 0.
        attention: how it computes attention, as the model does.
        name: what to call the network.

    Raises:
        UserError: its layers cannot be told apart, or those that were asked for make no network of the same kind.
    """
    layers = _layer_list(model, name)
    config = deepcopy(model.config)
    config.num_hidden_layers = len(kept)
    if types := getattr(config, "layer_types", None):
        config.layer_types = [types[i] for i in kept]
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
    """Find the encoder's layers: the one outermost list that is as long as the configuration says."""
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
