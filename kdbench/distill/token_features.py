"""Token-level features and their distances: hidden states, attention scores and relations, with padding left out.

States are [B, L, H], masks [B, L] with 1 for real tokens; heads divide H.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from kdbench.core.lazy_torch import torch
from kdbench.distill.losses import at_least_float32, exact_product

if TYPE_CHECKING:
    from torch import Tensor

PADDED_KEY = -1e4  # added to the scores of padded keys, as BERT does
MASKED = -1e9  # a logit whose probability is 0


def split_heads(states: Tensor, heads: int) -> Tensor:
    """Reshape states [B, L, H] to [B, heads, L, H / heads], at least float32."""
    kind = torch.promote_types(states.dtype, torch.float32)
    return states.to(kind).view(*states.shape[:2], heads, -1).transpose(1, 2)


def attention_scores(query: Tensor, key: Tensor, heads: int, mask: Tensor) -> Tensor:
    """Compute attention scores before the softmax [B, heads, L, L]: q k' / sqrt(d), -10000 at padded keys."""
    q, k = split_heads(query, heads), split_heads(key, heads)
    scores = exact_product(q, k.transpose(2, 3)) / math.sqrt(q.shape[-1])
    return scores + PADDED_KEY * (1 - mask.to(scores.dtype))[:, None, None]


def masked_mse(target: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Compute the mean of (values - target)^2 over the entries whose mask, which is broadcast, is 1; None: over all."""
    squared = (at_least_float32(values) - target).square()
    if mask is None:
        return squared.mean()
    mask = mask.to(squared.dtype).expand_as(squared)
    return (squared * mask).sum() / mask.sum()


def pair_mask(mask: Tensor) -> Tensor:
    """Return the mask of pairs of real tokens [B, 1, L, L]."""
    return mask[:, None, :, None] * mask[:, None, None, :]


def relation_kl(target: Tensor, states: Tensor, heads: int, mask: Tensor) -> Tensor:
    """Compute the mean over examples, heads and real tokens of KL(R_t || R_s) (MiniLMv2).

    R = softmax(X X' / sqrt(d)) over the real tokens of an example, for each of `heads` parts of X [B, L, H]; the widths
    of the two networks may differ.
    """
    logt, logs = (_log_relations(x, heads, mask) for x in (target, states))
    each = (logt.exp() * (logt - logs)).sum(3).mean(1)  # [B, L]
    weights = mask.to(each.dtype)
    return ((each * weights).sum(1) / weights.sum(1)).mean()


def _log_relations(states: Tensor, heads: int, mask: Tensor) -> Tensor:
    """Compute log R [B, heads, L, L]."""
    x = split_heads(states, heads)
    scores = exact_product(x, x.transpose(2, 3)) / math.sqrt(x.shape[-1])
    return scores.masked_fill(mask[:, None, None] == 0, MASKED).log_softmax(3)
