"""What may be asked of a network's output, and whether it was given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from kdbench.core.errors import RunFailure
from kdbench.data.tokens import InputFormat
from kdbench.models import cls_only_layer

MAPS = "output_attentions"


def requested(module: nn.Module, more: Mapping[str, Any], format: InputFormat) -> dict[str, Any]:
    """Return the keywords with which the network's forward gives what `more` asks for.

    Args:
        format: of the batch.

    Raises:
        RunFailure: attention maps of a kernel that makes none, or first tokens that may be padding.
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


def checked(outputs: Any, asked: Mapping[str, Any]) -> Any:
    """Return the outputs, which hold the attention maps that were asked for.

    Raises:
        RunFailure: they do not.
    """
    if asked.get(MAPS):
        maps = getattr(outputs, "attentions", None)
        if not maps or any(found is None for found in maps):
            raise RunFailure("setting", "this network gives no attention maps; choose another one.")
    return outputs
