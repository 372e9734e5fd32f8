"""Find a network's classifier, whatever its architecture calls it."""

from __future__ import annotations

from typing import Any

from torch import nn

from kdbench.errors import UserError


def final_layer(module: nn.Module) -> nn.Linear:
    """Return the linear layer that makes the class logits: the last one outside of the encoder with an output a class.

    BERT calls it `classifier`, RoBERTa `classifier.out_proj`, GPT-2 `score`, XLNet `logits_proj`.

    Raises:
        UserError: there is none.
    """
    config: Any = module.config
    encoder = getattr(module, str(getattr(module, "base_model_prefix", "")), None)
    inside = set(encoder.modules()) if isinstance(encoder, nn.Module) else set()
    linear = [part for part in module.modules() if isinstance(part, nn.Linear) and part not in inside]
    found = [layer for layer in linear if layer.out_features == config.num_labels]
    if not found:
        raise UserError(
            f"{type(module).__name__} has no linear layer with {config.num_labels} outputs at its end, which this "
            f"method or setting needs; choose another network."
        )
    return found[-1]
