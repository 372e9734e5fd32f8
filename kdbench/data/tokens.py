"""Tokenise splits, and cache the tokens on disk by content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.core.atomic_files import replacing
from kdbench.core.errors import UserError
from kdbench.data.task import Examples

NAMES = ("input_ids", "attention_mask", "token_type_ids")  # of a forward pass, as Hugging Face calls them


@dataclass(frozen=True)
class InputFormat:
    """Describe how a tokenizer pads rows into a batch, BERT's by default.

    Attributes:
        pad_id: the padding token.
        pad_type: its token type.
        side: the side of the padding, `right` or `left`.
        names: the inputs of the network's forward, a subset of `NAMES`.
    """

    pad_id: int = 0
    pad_type: int = 0
    side: str = "right"
    names: tuple[str, ...] = NAMES

    @classmethod
    def of(cls, tokenizer: Any, name: str) -> InputFormat:
        """Return the input format of a tokenizer.

        Args:
            name: the model's name, for messages.

        Raises:
            UserError: the tokenizer cannot pad, or the network needs other inputs than `NAMES`.
        """
        if tokenizer.pad_token_id is None:
            raise UserError(
                f"The tokenizer of {name} has no padding token, so its rows cannot be put into batches; give "
                f'"pad_token" in its tokenizer_config.json, and its id as "pad_token_id" in config.json.'
            )
        named = tuple(tokenizer.model_input_names)
        if not {"input_ids", "attention_mask"} <= set(named) <= set(NAMES):
            raise UserError(
                f"The tokenizer of {name} gives {', '.join(named)}, where a batch has {', '.join(NAMES)} (the last may "
                f'be missing); choose another model, or correct "model_input_names" in its tokenizer_config.json.'
            )
        names = tuple(known for known in NAMES if known in named)
        return cls(int(tokenizer.pad_token_id), int(tokenizer.pad_token_type_id), tokenizer.padding_side, names)


BERT_FORMAT = InputFormat()


@dataclass(frozen=True)
class Tokens:
    """A tokenised split. Rows of different lengths are concatenated; row i is `ids[starts[i]:starts[i + 1]]`.

    Shapes: ids and types [total tokens], starts [rows + 1], labels [rows].

    Attributes:
        labels: class indices, or the numbers of a regression.
        format: how rows are padded.
        others: the same rows as other tokenizers than the student's encode them, by tokenizer; empty where all
            networks of a run share a tokenizer.
    """

    ids: NDArray[np.int32]
    types: NDArray[np.int8]
    starts: NDArray[np.int64]
    labels: NDArray[np.int64] | NDArray[np.float64]
    format: InputFormat = BERT_FORMAT
    others: Mapping[str, Tokens] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    def for_tokenizer(self, tokenizer: str) -> Tokens:
        """Return the rows as a tokenizer encodes them: a key of `others`, or "" for the student's."""
        return self.others[tokenizer] if tokenizer else self

    def keep_rows(self, rows: NDArray[np.int64]) -> Tokens:
        """Return a copy in which all rows but `rows` are padding without label; row numbers stay the same.

        The label of such a row is -1, of a regression NaN, so that a loss on it fails.
        """
        kept = np.zeros(len(self), bool)
        kept[rows] = True
        blank = ~np.repeat(kept, self.lengths)
        ids = np.where(blank, self.format.pad_id, self.ids)
        types = np.where(blank, self.format.pad_type, self.types)
        others = {tokenizer: tokens.keep_rows(rows) for tokenizer, tokens in self.others.items()}
        labels = np.where(kept, self.labels, -1 if self.labels.dtype.kind == "i" else np.nan)
        return replace(self, ids=ids, types=types, labels=labels, others=others)

    def occurring(self, tokenizer: str) -> NDArray[np.int64]:
        """Return the token ids of all rows for a tokenizer (see `for_tokenizer`), padding included, ascending."""
        tokens = self.for_tokenizer(tokenizer)
        return np.flatnonzero(np.bincount(np.append(tokens.ids, tokens.format.pad_id)))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Return the number of tokens in each row [rows]."""
        return np.diff(self.starts)


def label_array(labels: Sequence[int] | Sequence[float]) -> NDArray[np.int64] | NDArray[np.float64]:
    """Return class indices as int64, numbers of a regression as float64."""
    found = np.asarray(labels)
    return found.astype(np.float64) if found.dtype.kind == "f" and len(found) else found.astype(np.int64)


def tokenise(tokenizer: Any, examples: Examples, max_length: int, format: InputFormat | None = None) -> Tokens:
    """Encode a split (for BERT as `[CLS] a [SEP] b [SEP]`), truncated to `max_length` tokens, the longer text first.

    Args:
        format: how rows will be padded; by default that of the tokenizer.

    Raises:
        UserError: a row has no tokens.
    """
    second = None if examples.text_b is None else list(examples.text_b)
    coded = tokenizer(list(examples.text_a), second, truncation=True, max_length=max_length)
    rows: Sequence[Sequence[int]] = coded["input_ids"]
    if empty := [number for number, row in enumerate(rows) if not row]:
        raise UserError(
            f"Row {empty[0]} is empty, and the tokenizer of {tokenizer.name_or_path} makes no token of it; take such "
            f"rows out of the data ({len(empty):,} of {len(rows):,}), or choose a model with a classification token."
        )
    types = coded.get("token_type_ids") or [[0] * len(row) for row in rows]
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    return Tokens(
        np.concatenate([np.asarray(r, np.int32) for r in rows]),
        np.concatenate([np.asarray(t, np.int8) for t in types]),
        starts.astype(np.int64),
        label_array(examples.labels),
        format or InputFormat.of(tokenizer, tokenizer.name_or_path),
    )


def load_or_tokenise(folder: Path, key: Sequence[str], format: InputFormat, make: Callable[[], Tokens]) -> Tokens:
    """Load the tokens stored under a hash of `key`, or make and store them if absent or unreadable.

    The format is not stored, so that files from before there were formats stay valid.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file, save_file

    path = folder / f"{hashlib.sha256('|'.join(key).encode()).hexdigest()[:24]}.safetensors"
    try:
        return Tokens(**load_file(path), format=format)
    except Exception:  # absent or damaged: a damaged cache must not stop a run
        tokens = make()
    # a cache that cannot be written must not stop a run either
    with suppress(OSError, SafetensorError), replacing(path) as temporary:
        save_file({name: value for name, value in vars(tokens).items() if isinstance(value, np.ndarray)}, temporary)
    return tokens
