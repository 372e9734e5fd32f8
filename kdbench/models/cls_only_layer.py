"""Compute BERT's last layer only for [CLS], the one token that the classifier reads.

Keys and values are computed for every token, query and feed-forward for [CLS] alone. Logits, their gradients and the
first token's states equal those of the whole layer, for a sixth of its products. A pass that needs all hidden states
or attention maps computes the whole layer.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

from torch import Tensor, nn

FIRST_TOKENS = "first_tokens"  # a keyword of the network's forward: only the first token's hidden states are read
MARK = "_first_token_pass"


class _PassState:
    """Remembers whether the present forward pass needs the whole last layer."""

    def __init__(self) -> None:
        self.whole = False

    def read_arguments(self, module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Set `whole` from the arguments of the network's forward, as a pre-forward hook."""
        first_only = kwargs.pop(FIRST_TOKENS, False)
        config = module.config
        states, maps = (
            kwargs.get(key, getattr(config, key, False)) for key in ("output_hidden_states", "output_attentions")
        )
        self.whole = bool(maps or (states and not first_only))
        return args, kwargs


def is_supported(module: nn.Module) -> bool:
    """Return whether `install` knows the architecture."""
    config: Any = getattr(module, "config", None)
    return getattr(config, "model_type", None) == "bert" and hasattr(module, "bert")


def install(module: nn.Module) -> None:
    """Replace the forward of a BERT's last layer; parameters, names and saved files stay the same.

    With `output_hidden_states=True, first_tokens=True` the last hidden state is [B, 1, H].
    """
    encoder: Any = module.get_submodule("bert.encoder")
    layer, state = encoder.layer[-1], _PassState()
    layer.forward = partial(_forward, layer, state)
    module.register_forward_pre_hook(state.read_arguments, with_kwargs=True)
    setattr(module, MARK, state)


def is_installed(module: nn.Module) -> bool:
    """Return whether `install` was applied to the network."""
    return MARK in vars(module)


def _forward(
    layer: Any, state: _PassState, hidden: Tensor, mask: Tensor | None = None, *args: Any, **kwargs: Any
) -> Any:
    """Compute a BERT layer for the first token, in place of `BertLayer.forward`.

    Args:
        hidden: states of the layer below [B, L, H].
        mask: added to the scores of attention [B, 1, L or 1, L].

    Returns:
        the first token's state [B, 1, H]; the layer's usual output if the pass needs the whole layer.
    """
    if state.whole:
        return type(layer).forward(layer, hidden, mask, *args, **kwargs)
    # attention: one query, all keys and values
    attention, first = layer.attention.self, hidden[:, :1]
    query = _heads(attention, attention.query(first))
    key, value = _heads(attention, attention.key(hidden)), _heads(attention, attention.value(hidden))
    context, _weights = _kernel(attention)(
        attention, query, key, value, None if mask is None else mask[:, :, :1],
        dropout=attention.dropout.p if attention.training else 0.0, scaling=attention.scaling,
    )  # fmt: skip
    # feed-forward
    result: Tensor = layer.feed_forward_chunk(layer.attention.output(context.reshape(first.shape), first))
    return result


def _heads(attention: Any, values: Tensor) -> Tensor:
    """Reshape [B, L, H] to [B, heads, L, H / heads]."""
    return values.view(*values.shape[:2], -1, attention.attention_head_size).transpose(1, 2)


def _kernel(attention: Any) -> Any:
    """Return the attention function that the network was built with."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    eager = sys.modules[type(attention).__module__].eager_attention_forward
    return ALL_ATTENTION_FUNCTIONS.get_interface(attention.config._attn_implementation, eager)
