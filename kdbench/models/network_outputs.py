"""Check requests for hidden states and attention maps, and the outputs that they produce."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import nn

from kdbench.core.errors import RunFailure
from kdbench.core.formatting import count
from kdbench.data.tokens import InputFormat
from kdbench.models import cls_only_layer, own_tokenizer
from kdbench.models.query_key_value import QKV, run_with_qkv

MAPS, STATES = "output_attentions", "output_hidden_states"


def forward_arguments(module: nn.Module, more: Mapping[str, Any], format: InputFormat) -> dict[str, Any]:
    """Return the keyword arguments of the network's forward for the outputs that `more` requests.

    Args:
        more: keywords of `TrainableModel.outputs`.
        format: the batch's input format.

    Raises:
        RunFailure: the attention kernel gives no maps, first tokens may be padding, or states or maps of all tokens
            are asked of a network with another tokenizer than the student's.
    """
    states = more.get(STATES) and not more.get(cls_only_layer.FIRST_TOKENS)
    if (more.get(MAPS) or more.get(QKV) or states) and own_tokenizer.tokenizer_of(module):
        what = "attention maps" if more.get(MAPS) else "queries and keys" if more.get(QKV) else "hidden states"
        raise RunFailure(
            "setting",
            f"{what} of every token cannot be compared, because the networks have different tokenizers, whose tokens "
            f"do not correspond; choose models with one tokenizer, or a method that compares logits or first-token "
            f"states, as most methods of kdbench do (a method of yours that reads only the first token's states gives "
            f"first_tokens=True).",
        )
    if more.get(cls_only_layer.FIRST_TOKENS) and format.side == "left":
        raise RunFailure(
            "setting",
            "states of the first token are compared, which is padding where a tokenizer pads on the left; "
            "choose other networks, or a method that compares logits.",
        )
    if more.get(MAPS):
        config: Any = module.config
        if config._attn_implementation != "eager":
            raise RunFailure(
                "setting",
                f"attention={config._attn_implementation} makes no attention maps; give --set attention=eager.",
            )
    if cls_only_layer.is_installed(module):
        # only a pass that needs all states computes the last layer's queries of every token
        return {**more, STATES: True, cls_only_layer.FIRST_TOKENS: False} if more.get(QKV) else dict(more)
    return {key: value for key, value in more.items() if key != cls_only_layer.FIRST_TOKENS}


def bind_arguments(network: Callable[..., Any], module: nn.Module, asked: Mapping[str, Any]) -> Callable[..., Any]:
    """Return the network as a function of its inputs alone.

    Args:
        network: runs `module`; if queries, keys and values are asked for, not compiled.
        asked: of `forward_arguments`.
    """
    bound = partial(network, **{key: value for key, value in asked.items() if key != QKV})
    return partial(run_with_qkv, bound, module, asked[QKV]) if asked.get(QKV) else bound


def check_outputs(outputs: Any, module: nn.Module, asked: Mapping[str, Any]) -> Any:
    """Return the outputs after checking that they contain the requested attention maps and the states of each layer.

    Raises:
        RunFailure: they do not.
    """
    if asked.get(MAPS):
        maps = getattr(outputs, "attentions", None)
        if not maps or any(found is None for found in maps):
            raise RunFailure("setting", "this network gives no attention maps; choose another one.")
    if asked.get(STATES):
        config: Any = module.config
        # methods number the states by layer: those of the embeddings, then one for each
        given = len(getattr(outputs, "hidden_states", None) or ())
        if given != 1 + config.num_hidden_layers:
            raise RunFailure(
                "setting",
                f"hidden states are numbered by layer, and a network of type {config.model_type} with "
                f"{count(config.num_hidden_layers, 'layer')} gives {given or 'none'}, not one for the embeddings and "
                "one for each layer; choose another network, or a method that compares logits.",
            )
    return outputs
