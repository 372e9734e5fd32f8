"""Check that padding does not change a network's predictions, so that results do not depend on the batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from inspect import signature
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kdbench.core.errors import UserError
from kdbench.data.batches import collate
from kdbench.data.tokens import Tokens

TOLERANCE = 1e-3  # of the largest logit; rounding changes a float32 network's logits by about 1e-6
LENGTHS = 8, 32  # shortest and longest test row in tokens; every network reads as many


def check_padding(module: nn.Module, tokens: Tokens, name: str) -> None:
    """Compare a network's logits of a row that is padded to twice its length with those of the row alone.

    They differ where the padding is on a side that the positions do not expect (BERT or GPT-2 with padding on the
    left), where a head looks for another padding token than the tokenizer's, or where a network mixes all tokens.

    Args:
        module: a float32 network; its mode is preserved.
        tokens: the first row is used.
        name: the model's name, for the message.

    Raises:
        UserError: they differ, or are not finite.
    """
    length = min(max(LENGTHS[0], int(tokens.lengths[0])), LENGTHS[1])
    rows, before = of_lengths(tokens, (length, length // 2)), module.training
    module.eval()
    try:
        problem = _problem(module, rows, name)
    finally:
        module.train(before)
    if problem:
        raise UserError(
            f"{name} predicts something else for a row in a padded batch than for the row alone ({problem}); "
            f"{_way_out(module, tokens)}"
        )


def _way_out(module: nn.Module, tokens: Tokens) -> str:
    config: Any = module.config
    if "attention_mask" not in signature(module.forward).parameters:
        return (
            f"a network of type {config.model_type} takes no attention mask, so that its tokens see the padding; "
            "choose a model of another type, such as a BERT."
        )
    return (
        f'its tokenizer_config.json must have the "padding_side" that it was trained with (now {tokens.format.side}), '
        f'its config.json the tokenizer\'s padding token {tokens.format.pad_id} as "pad_token_id" (now '
        f"{config.pad_token_id}); or choose another model."
    )


def of_lengths(tokens: Tokens, sizes: Sequence[int]) -> Tokens:
    """Return rows of these lengths with the first row's first and last token, and the others repeated in between.

    Networks such as BART look for as many tokens of the end in every row.
    """
    row = slice(tokens.starts[0], tokens.starts[1])
    own, kinds = tokens.ids[row], tokens.types[row]
    inner = np.flatnonzero((own != own[0]) & (own != own[-1]))
    body = inner if len(inner) else np.array([0])
    places = [np.concatenate([[0], np.resize(body, max(0, size - 2)), [len(own) - 1]])[:size] for size in sizes]
    ids, types = (np.concatenate([a[some.astype(int)] for some in places]) for a in (own, kinds))
    return replace(tokens, ids=ids, types=types, starts=np.cumsum([0, *sizes]), labels=tokens.labels[[0] * len(sizes)])


@torch.no_grad()
def _problem(module: nn.Module, tokens: Tokens, name: str) -> str:
    """Return what is wrong with a padded batch, in a few words; "" if nothing is."""

    def logits(*rows: int) -> Tensor:
        batch = collate(tokens, np.array(rows), torch.device("cpu"))
        found: Tensor = module(**batch.inputs).logits.float()
        return found

    try:
        alone = torch.cat([logits(0), logits(1)])
    except Exception:  # the network cannot read the tokens at all, which another check reports
        return ""
    if not alone.isfinite().all():
        raise UserError(f"The logits of {name} are not finite; its weights are damaged, or too large for float32.")
    try:
        error = float((logits(0, 1) - alone).abs().max() / alone.abs().max())
    except Exception as refused:
        return str(refused).strip().partition("\n")[0]
    return "" if error <= TOLERANCE else f"logits differ by {100 * error:.2g} %"
