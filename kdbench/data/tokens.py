"""Tokenised splits: made once, kept on disk, read back by content."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.files import replacing
from kdbench.task import Examples


@dataclass(frozen=True)
class Tokens:
    """A split as token ids. Row i is `ids[starts[i]:starts[i + 1]]`; ragged rows lie end to end.

    Shapes: ids and types [total tokens], starts [rows + 1], labels [rows].
    """

    ids: NDArray[np.int32]
    types: NDArray[np.int8]
    starts: NDArray[np.int64]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def only(self, rows: NDArray[np.int64]) -> Tokens:
        """A copy in which every other row is blank: no text, label -1. Rows keep their numbers."""
        kept = np.zeros(len(self), bool)
        kept[rows] = True
        blank = ~np.repeat(kept, self.lengths)
        ids, types = np.where(blank, 0, self.ids), np.where(blank, 0, self.types)
        return Tokens(ids, types, self.starts, np.where(kept, self.labels, -1))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens in each row [rows]."""
        return np.diff(self.starts)


def tokenise(tokenizer: Any, examples: Examples, max_length: int) -> Tokens:
    """Encode a split; pairs become `[CLS] a [SEP] b [SEP]`, cut to `max_length` tokens, longest sentence first."""
    second = None if examples.text_b is None else list(examples.text_b)
    coded = tokenizer(list(examples.text_a), second, truncation=True, max_length=max_length)
    rows: Sequence[Sequence[int]] = coded["input_ids"]
    types = coded.get("token_type_ids") or [[0] * len(row) for row in rows]
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    return Tokens(
        np.concatenate([np.asarray(r, np.int32) for r in rows]),
        np.concatenate([np.asarray(t, np.int8) for t in types]),
        starts.astype(np.int64),
        np.asarray(examples.labels, np.int64),
    )


def cached(folder: Path, key: Sequence[str], make: Any) -> Tokens:
    """The tokens stored under a hash of `key`, made and stored when absent or unreadable."""
    from safetensors.numpy import load_file, save_file

    path = folder / f"{hashlib.sha256('|'.join(key).encode()).hexdigest()[:24]}.safetensors"
    try:
        return Tokens(**load_file(path))
    except Exception:  # absent, cut short or foreign: a cache is never a reason to fail
        tokens: Tokens = make()
    with replacing(path) as temporary:
        save_file(vars(tokens), temporary)
    return tokens
