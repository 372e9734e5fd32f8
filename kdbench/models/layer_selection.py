"""Build a network from a selection of another network's encoder layers."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from inspect import signature
from typing import Any

from kdbench.core.errors import UserError
from kdbench.core.lazy_torch import nn, torch

# settings with a value for each layer, of architectures whose layers are not all alike
PER_LAYER = ("layer_types", "attention_layers", "attention_window", "mlp_layer_types", "no_rope_layers")
PROBE = range(3, 11)  # tokens on which copied layers are compared with those that they were copied from
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
        UserError: the layers cannot be identified, the selected ones form no network of this architecture, or a layer
            computes something else in another place.
    """
    layers = _layer_list(model, name)
    # a network of that many layers, and the weights of the kept ones
    small = _of_that_many(model, kept, attention, name)
    if len(small.get_submodule(layers)) != len(kept):  # an ALBERT's groups of layers have a number of their own
        raise UserError(
            f"Model '{name}': its layers cannot be chosen, for the configuration of this {model.config.model_type} "
            f"counts its layers in another way; {WHOLE}."
        )
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
            f"Model '{name}': these layers alone make no {model.config.model_type}, whose layers are not all alike; "
            f"choose others, layer 0 first, or {WHOLE}."
        ) from None
    training = model.training
    is_same = _compute_the_same(model.eval(), small.eval(), layers, kept)
    model.train(training)
    if not is_same:
        raise UserError(
            f"Model '{name}': its layers cannot be chosen, for those of this {model.config.model_type} compute "
            f"something else in another place; {WHOLE}."
        )
    return small.train(training)


def _of_that_many(model: Any, kept: Sequence[int], attention: str, name: str) -> Any:
    """Return a new network of that many layers.

    Raises:
        UserError: the architecture takes no such configuration.
    """
    try:
        config = _config_of(model.config, kept)
        with torch.random.fork_rng(devices=[]):
            return type(model)._from_config(config, attn_implementation=attention, dtype=model.dtype)
    except Exception as error:  # each architecture refuses in its own way, from AssertionError to IndexError
        raise UserError(
            f"Model '{name}': its layers cannot be chosen, for the configuration of a {model.config.model_type} does "
            f"not fit some of them alone; {WHOLE}."
        ) from error


def _config_of(whole: Any, kept: Sequence[int]) -> Any:
    """Return a configuration of the kept layers, which loads again from its file."""
    config = deepcopy(whole)
    config.num_hidden_layers = len(kept)
    for key in PER_LAYER:
        values = getattr(config, key, None)
        if isinstance(values, list | tuple) and len(values) == whole.num_hidden_layers:
            setattr(config, key, [values[i] for i in kept])
    type(config).from_dict(config.to_dict())
    return config


def _compute_the_same(model: Any, small: Any, layers: str, kept: Sequence[int]) -> bool:
    """Return whether every copied layer, given its own input, answers as the layer that it was copied from.

    A layer may read its number: GPT-2 may divide by it, and SmolLM leaves out the positions in every fourth.
    """
    found = list[bool]()

    def compare(number: int) -> Any:
        def hook(_: Any, inputs: Any, named: Any, output: Any) -> None:
            wanted = model.get_submodule(f"{layers}.{number}")(*inputs, **named)
            ours, theirs = (one if isinstance(one, torch.Tensor) else one[0] for one in (output, wanted))
            found.append(torch.allclose(ours, theirs, rtol=1e-3, atol=1e-5, equal_nan=True))

        return hook

    own = small.get_submodule(layers)
    hooks = [own[place].register_forward_hook(compare(number), with_kwargs=True) for place, number in enumerate(kept)]
    no_cache = {"use_cache": False} if "use_cache" in signature(small.forward).parameters else {}
    try:
        with torch.no_grad():
            small(input_ids=torch.tensor([PROBE]) % small.get_input_embeddings().num_embeddings, **no_cache)
    except Exception:  # what a layer is given here does not fit that in its old place
        return False
    finally:
        for hook in hooks:
            hook.remove()
    return len(found) == len(kept) and all(found)


def _layer_list(model: Any, name: str) -> str:
    """Find the name of the encoder's layer list: the only outermost list of the configured length.

    Raises:
        UserError: there are none or several.
    """
    total = model.config.num_hidden_layers
    lists = [path for path, part in model.named_modules() if isinstance(part, nn.ModuleList) and len(part) == total]
    outermost = [path for path in lists if not any(path.startswith(f"{other}.") for other in lists)]
    if len(outermost) != 1:
        why = "several lists of layers" if outermost else "one set of weights for them all"
        raise UserError(
            f"Model '{name}': its layers cannot be chosen, for a network of type {model.config.model_type} has {why}; "
            f"{WHOLE}."
        )
    found: str = outermost[0]
    return found
