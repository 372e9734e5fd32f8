"""Check requests for hidden states and attention maps, and the outputs that they produce."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from kdbench.core.errors import RunFailure
from kdbench.data.tokens import InputFormat
from kdbench.models import cls_only_layer, own_tokenizer

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
    every_token = more.get(MAPS) or (more.get(STATES) and not more.get(cls_only_layer.FIRST_TOKENS))
    if every_token and own_tokenizer.tokenizer_of(module):
        raise RunFailure(
            "setting",
            f"{'attention maps' if more.get(MAPS) else 'hidden states'} of every token cannot be compared, because the "
            f"networks have different tokenizers, whose tokens do not correspond; choose models with one tokenizer, or "
            f"a method that compares logits or first-token states, as all methods of kdbench do (a method of yours "
            f"that reads only the first token's states gives first_tokens=True).",
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
    unknown = () if cls_only_layer.is_installed(module) else (cls_only_layer.FIRST_TOKENS,)
    return {key: value for key, value in more.items() if key not in unknown}


def check_outputs(outputs: Any, asked: Mapping[str, Any]) -> Any:
    """Return the outputs after checking that they contain the requested attention maps.

    Raises:
        RunFailure: they do not.
    """
    if asked.get(MAPS):
        maps = getattr(outputs, "attentions", None)
        if not maps or any(found is None for found in maps):
            raise RunFailure("setting", "this network gives no attention maps; choose another one.")
    return outputs
