"""Keep only the rows of a token embedding that the data use, while a network is trained on a CPU.

Without weight decay, AdamW never moves the row of a token that occurs in no text: its gradient and its moments stay
zero. Without these rows a step computes the same numbers, and optimiser, look-aheads, forward-mode derivatives and
checkpoints have less to do. Networks still read the tokenizer's own token ids, and are saved with the whole table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

KEPT = "/kept"  # ends the key of the kept token ids in a checkpoint, which begins with the weights' name


class UnknownTokensError(Exception):
    """A network was given tokens whose embedding rows were left out."""


class TrimmedEmbedding(nn.Embedding):
    """A token embedding with the rows of some tokens, in the order of the whole table.

    Args:
        whole: the table [V, H], whose weights are taken over.
        kept: the kept token ids, ascending [k].
        name: of the weights among the network's parameters.

    Attributes:
        table: the weights of all tokens [V, H] as they were before training.
    """

    def __init__(self, whole: nn.Embedding, kept: Tensor, name: str) -> None:
        padding = None if whole.padding_idx is None else int((kept == whole.padding_idx).nonzero())
        weight = whole.weight.detach()[kept]
        super().__init__(len(kept), whole.embedding_dim, padding, _weight=weight)
        self.weight.requires_grad_(whole.weight.requires_grad)
        self.table, self.kept, self.name, self.whole_padding = whole.weight.detach(), kept, name, whole.padding_idx
        self._row_of = torch.full((whole.num_embeddings,), -1).index_copy_(0, kept, torch.arange(len(kept)))

    def forward(self, input: Tensor) -> Tensor:
        """Look up token ids of the whole vocabulary.

        Raises:
            UnknownTokensError: the row of one of them is not kept.
        """
        try:
            return functional.embedding(self._row_of[input], self.weight, self.padding_idx)
        except IndexError:
            raise UnknownTokensError("tokens that occur in no text of the task") from None

    def pad(self, rows: Tensor, table: Tensor | None = None) -> Tensor:
        """Return a whole table [V, H]: `rows` [k, H], and those of `table` (zeros by default) for the other tokens."""
        other = self.table.new_zeros(self.table.shape) if table is None else table.clone()
        return other.to(rows.dtype).index_copy_(0, self.kept, rows)


def trim(module: nn.Module, token_ids: NDArray[np.int64]) -> None:
    """Keep only the embedding rows of these and the padding tokens, where the network allows it (see `_embedding`)."""
    found = _embedding(module)
    if found is None:
        return
    name, whole = found
    config: Any = getattr(module, "config", None)
    padding = [token for token in (getattr(config, "pad_token_id", None), whole.padding_idx) if token is not None]
    kept = np.unique(np.concatenate([token_ids, np.asarray(padding, np.int64)]))
    if kept[0] >= 0 and len(kept) < whole.num_embeddings and kept[-1] < whole.num_embeddings:
        _replace(module, name, TrimmedEmbedding(whole, torch.from_numpy(kept), name))


def trimmed_embedding(module: nn.Module) -> TrimmedEmbedding | None:
    """Return the network's trimmed embedding; None if the embedding is whole."""
    return next((part for part in module.modules() if isinstance(part, TrimmedEmbedding)), None)


@contextmanager
def whole_embedding(module: nn.Module) -> Iterator[None]:
    """Give the network its whole embedding within the block, for example to save it."""
    trimmed = trimmed_embedding(module)
    restore_embedding(module)
    try:
        yield
    finally:
        if trimmed:
            _replace(module, trimmed.name, trimmed)


def restore_embedding(module: nn.Module) -> None:
    """Give the network its whole embedding, if it is trimmed."""
    if trimmed := trimmed_embedding(module):
        table = trimmed.pad(trimmed.weight.detach(), trimmed.table)
        whole = nn.Embedding(len(table), table.shape[1], trimmed.whole_padding, _weight=table)
        whole.weight.requires_grad_(trimmed.weight.requires_grad)
        _replace(module, trimmed.name, whole)


def split_weights(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str, Tensor | None]:
    """Split weights of a checkpoint into the network's own, and name and kept token ids of a trimmed embedding."""
    name = next((key.removesuffix(KEPT) for key in tensors if key.endswith(KEPT)), "")
    return {key: value for key, value in tensors.items() if key != name + KEPT}, name, tensors.get(name + KEPT)


def _embedding(module: nn.Module) -> tuple[str, nn.Embedding] | None:
    """Return name and module of a token embedding that can be trimmed, or None.

    That is a plain one, read by its forward pass alone: neither tied to other weights nor observed by hooks, and not
    that of a decoder, whose first token no tokenizer makes.
    """
    config: Any = getattr(module, "config", None)
    try:
        table: Any = module.get_input_embeddings()  # type: ignore[operator]
    except (AttributeError, NotImplementedError):  # not of transformers; without a table of tokens, such as CANINE
        return None
    plain = type(table) is nn.Embedding and table.max_norm is None and not (table.sparse or table.scale_grad_by_freq)
    if not plain or getattr(config, "is_encoder_decoder", False) or table._forward_hooks or table._forward_pre_hooks:
        return None
    names = [name for name, p in module.named_parameters(remove_duplicate=False) if p is table.weight]
    return (names[0], table) if len(names) == 1 else None


def _replace(module: nn.Module, name: str, part: nn.Module) -> None:
    """Put a module in the place of the one whose weights have this name."""
    parent, _, child = name.removesuffix(".weight").rpartition(".")
    setattr(module.get_submodule(parent), child, part.train(module.training))
