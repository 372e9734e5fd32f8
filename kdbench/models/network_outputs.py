"""Check requests for hidden states and attention maps, and the outputs that they produce."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from kdbench.core.errors import RunFailure
from kdbench.data.tokens import InputFormat
from kdbench.models import cls_only_layer

MAPS = "output_attentions"


def forward_arguments(module: nn.Module, more: Mapping[str, Any], format: InputFormat) -> dict[str, Any]:
    """Return the keyword arguments of the network's forward for the outputs that `more` requests.

    Args:
        more: keywords of `TrainableModel.outputs`.
        format: the batch's input format.

    Raises:
        RunFailure: the attention kernel gives no maps, or first tokens may be padding.
    """
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
