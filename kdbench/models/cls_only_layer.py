"""The last encoder layer for the first token alone, which is all of it that a BERT's classifier reads.

Its keys and values are those of every token; query, feed-forward and all the rest are needed once a row. Logits, their
gradients and the first token's states are what the whole layer gives, for a sixth of its products. A pass that is asked
for all hidden states, or for attention maps, computes the whole layer.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

from torch import Tensor, nn

FIRST_TOKENS = "first_tokens"  # a keyword of the network's forward: of all hidden states, the first token's are enough
MARK = "_first_token_pass"


class _Pass:
    """What the present pass through a network needs of its last layer.

    Attributes:
        whole: all tokens.
    """

    def __init__(self) -> None:
        self.whole = False

    def look(self, module: Any, args: Any, given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Read it off the keywords of the network's forward, before that begins."""
        enough = given.pop(FIRST_TOKENS, False)
        config = module.config
        states, maps = (
            given.get(key, getattr(config, key, False)) for key in ("output_hidden_states", "output_attentions")
        )
        self.whole = bool(maps or (states and not enough))
        return args, given


def fits(module: nn.Module) -> bool:
    """Return whether `install` knows the architecture."""
    config: Any = getattr(module, "config", None)
    return getattr(config, "model_type", None) == "bert" and hasattr(module, "bert")


def install(module: nn.Module) -> None:
    """Change what the last layer of a BERT does, and nothing of what it holds, is called or is saved as.

    A pass that is asked for hidden states with `first_tokens=True` gives a last one of [B, 1, H].
    """
    encoder: Any = module.get_submodule("bert.encoder")
    layer, known = encoder.layer[-1], _Pass()
    layer.forward = partial(_forward, layer, known)
    module.register_forward_pre_hook(known.look, with_kwargs=True)
    setattr(module, MARK, known)


def is_installed(module: nn.Module) -> bool:
    """Return whether `module` computes so."""
    return MARK in vars(module)


def _forward(layer: Any, known: _Pass, hidden: Tensor, mask: Tensor | None = None, *more: Any, **given: Any) -> Any:
    """In place of `BertLayer.forward`.

    Args:
        hidden: states of the layer below [B, L, H].
        mask: added to the scores of attention [B, 1, L or 1, L].

    Returns:
        the first token's state [B, 1, H], or whatever the layer itself gives where all of it is asked for.
    """
    if known.whole:
        return type(layer).forward(layer, hidden, mask, *more, **given)
    attention, first = layer.attention.self, hidden[:, :1]
    query = _heads(attention, attention.query(first))
    key, value = _heads(attention, attention.key(hidden)), _heads(attention, attention.value(hidden))
    found, _weights = _kernel(attention)(
        attention, query, key, value, None if mask is None else mask[:, :, :1],
        dropout=attention.dropout.p if attention.training else 0.0, scaling=attention.scaling,
    )  # fmt: skip
    result: Tensor = layer.feed_forward_chunk(layer.attention.output(found.reshape(first.shape), first))
    return result


def _heads(attention: Any, values: Tensor) -> Tensor:
    """[B, L, H] as [B, heads, L, H / heads]."""
    return values.view(*values.shape[:2], -1, attention.attention_head_size).transpose(1, 2)


def _kernel(attention: Any) -> Any:
    """The attention that the network was built with."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    eager = sys.modules[type(attention).__module__].eager_attention_forward
    return ALL_ATTENTION_FUNCTIONS.get_interface(attention.config._attn_implementation, eager)
