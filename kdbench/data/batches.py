"""Build batches: choose their rows, and pad them into tensors.

A batch is a function of (seed, step), so a resumed run needs to know only the step.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdbench.core.errors import RunFailure
from kdbench.core.settings import Training
from kdbench.data.tokens import BERT_FORMAT, InputFormat, Tokens


@dataclass(frozen=True, eq=False)
class Origin:
    """The original tensors of a batch, to detect later whether a method has changed them.

    Attributes:
        tokens: the split.
        tensors: the network's inputs and the index.
        versions: torch's counters of in-place changes.
        copies: copies of CPU tensors, to detect changes that torch does not count (`.data`, `.numpy()`).
        rows: the batch's rows in the split [B].
        others: the same rows for networks with other tokenizers, by tokenizer, built when first asked for.
    """

    tokens: Tokens
    tensors: tuple[Tensor, ...]
    versions: tuple[int, ...]
    copies: tuple[Tensor, ...]
    rows: NDArray[np.int64]
    others: dict[str, Batch] = field(default_factory=dict)

    @classmethod
    def of(cls, tokens: Tokens, tensors: tuple[Tensor, ...], rows: NDArray[np.int64]) -> Self:
        copies = tuple(tensor.clone() for tensor in tensors if tensor.device.type == "cpu")
        return cls(tokens, tensors, tuple(tensor._version for tensor in tensors), copies, rows)

    def holds(self, tensors: tuple[Tensor, ...]) -> bool:
        """Return whether these are the same tensors, unchanged. No value is read from a GPU, which would wait."""
        return (
            len(tensors) == len(self.tensors)
            and all(here is there for here, there in zip(tensors, self.tensors, strict=True))
            and all(tensor._version == seen for tensor, seen in zip(tensors, self.versions, strict=True))
            and all(torch.equal(here, copy) for here, copy in zip(tensors, self.copies, strict=False))
        )


@dataclass(frozen=True)
class Batch:
    """Padded examples. Shapes: input_ids, attention_mask, token_type_ids [B, longest]; labels, index [B].

    Labels are int64 class indices, or the float64 numbers of a regression.

    A method may change a batch (`dataclasses.replace`, or in place); `is_drawn_from` detects changed inputs.

    Attributes:
        index: the examples' rows in the split.
        role: the role of the split (`train`, `feedback`).
        format: how the rows were padded, and which inputs a network is given.
    """

    input_ids: Tensor
    attention_mask: Tensor
    token_type_ids: Tensor
    labels: Tensor
    index: Tensor
    role: str = "train"
    format: InputFormat = BERT_FORMAT
    origin: Origin | None = field(default=None, repr=False, compare=False)

    @property
    def inputs(self) -> dict[str, Tensor]:
        """Return the arguments of the network's forward."""
        return {name: getattr(self, name) for name in self.format.names}

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, places: Tensor | slice) -> Batch:
        """Return the examples at these places, padded as they are here; like a changed batch, it has no text."""
        tensors: dict[str, Any] = {key: value[places] for key, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **tensors)

    def is_drawn_from(self, tokens: Tokens) -> bool:
        """Return whether the inputs are still those of the rows `index` of this split."""
        return self.origin is not None and self.origin.tokens is tokens and self._is_unchanged()

    def _is_unchanged(self) -> bool:
        """Return whether the inputs, and those of the same rows for other tokenizers, are as they were built."""
        return (
            self.origin is not None
            and self.origin.holds((*self.inputs.values(), self.index))
            and all(other._is_unchanged() for other in self.origin.others.values())
        )

    def for_tokenizer(self, tokenizer: str) -> Batch:
        """Return the same rows for a network with another tokenizer; the batch itself for the student's, "".

        Raises:
            RunFailure: a method has changed the batch, and a changed batch has no text that could be tokenised again.
        """
        if not tokenizer:
            return self
        origin = self.origin
        if origin is None or not self._is_unchanged():
            raise RunFailure(
                "setting",
                "the method changed a batch, whose new tokens a network with another tokenizer than the student's "
                "cannot read; choose models with one tokenizer, or give that network the batch before the change.",
            )
        if tokenizer not in origin.others:
            tokens, device = origin.tokens.others[tokenizer], self.labels.device
            origin.others[tokenizer] = collate(tokens, origin.rows, device, self.role)
        return origin.others[tokenizer]


def collate(tokens: Tokens, rows: NDArray[np.int64], device: torch.device, role: str = "train") -> Batch:
    """Pad `rows` to the longest of them, as their tokenizer does, and return them as a batch."""
    # token ids and types
    lengths, padding = tokens.lengths[rows], tokens.format
    longest = int(lengths.max())
    ids = np.full((len(rows), longest), padding.pad_id, np.int64)
    types = np.full_like(ids, padding.pad_type)
    first = longest - lengths if padding.side == "left" else np.zeros_like(lengths)
    for i, row in enumerate(rows):
        span, place = slice(tokens.starts[row], tokens.starts[row + 1]), slice(first[i], first[i] + lengths[i])
        ids[i, place] = tokens.ids[span]
        types[i, place] = tokens.types[span]
    # attention mask
    places = np.arange(longest) - first[:, None]
    mask = ((places >= 0) & (places < lengths[:, None])).astype(np.int64)
    arrays: tuple[NDArray[Any], ...] = (ids, mask, types, tokens.labels[rows], rows)
    if device.type == "cpu":
        tensors = [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]
    else:
        tensors = copy_to_device(arrays, device)
    inputs, attention, kinds, labels, index = tensors
    batch = Batch(inputs, attention, kinds, labels, index, role, padding)
    return replace(batch, origin=Origin.of(tokens, (*batch.inputs.values(), index), rows))


def copy_to_device(arrays: Sequence[NDArray[Any]], device: torch.device) -> list[Tensor]:
    """Copy arrays of int64 or float64 to a device in one asynchronous transfer.

    For a GPU they pass through pinned memory, which torch does not reuse before the copy is done. So the host builds
    the next batch while the GPU works on this one.
    """
    sizes = [array.size for array in arrays]
    host = torch.empty(sum(sizes), dtype=torch.int64, pin_memory=device.type == "cuda")
    np.concatenate([array.ravel().view(np.int64) for array in arrays], out=host.numpy())
    parts = torch.split(host.to(device, non_blocking=True), sizes)
    kinds = (torch.int64 if array.dtype.kind == "i" else torch.float64 for array in arrays)
    return [part.view(kind).view(array.shape) for part, kind, array in zip(parts, kinds, arrays, strict=True)]


class Stream:
    """An infinite, seeded sequence of batches over some rows of a split.

    Each epoch is a random permutation. Its last rows, too few for a batch, are a batch of their own; the others are
    cut into chunks that are sorted by length. Then the batches are shuffled.

    Args:
        tokens: the split.
        rows: the rows to draw from [n].
        name: the role of the batches (`train`, `feedback`); streams with the same seed differ by it.
        bucket: batches per chunk; 1 keeps the rows in random order.
        random_rest: False sorts the last rows with their chunk, so that the short batch has the longest of them.
    """

    def __init__(
        self, tokens: Tokens, rows: NDArray[np.int64], batch_size: int, seed: int, name: str, device: torch.device,
        bucket: int = Training().bucket, random_rest: bool = True,
    ) -> None:  # fmt: skip
        self.tokens, self.rows, self.batch_size, self.device = tokens, rows, batch_size, device
        self._chunk = bucket * batch_size
        self._sorted = len(rows) - len(rows) % batch_size if random_rest else len(rows)  # rows cut into chunks
        self.name = name
        self._entropy = [seed, zlib.crc32(name.encode())]
        self._epoch = -1
        self._order: list[NDArray[np.int64]] = []

    @property
    def batches_per_epoch(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def at(self, step: int) -> Batch:
        """Return the batch of a step, counted from 0."""
        epoch, position = divmod(step, self.batches_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._plan(epoch)
        return collate(self.tokens, self._order[position], self.device, self.name)

    def _plan(self, epoch: int) -> list[NDArray[np.int64]]:
        """Return the rows of every batch of an epoch."""
        generator = np.random.default_rng([*self._entropy, epoch])
        rows = generator.permutation(self.rows)
        lengths = self.tokens.lengths
        chunks = [rows[i : min(i + self._chunk, self._sorted)] for i in range(0, self._sorted, self._chunk)]
        chunks.append(rows[self._sorted :])
        ordered = np.concatenate([chunk[np.argsort(lengths[chunk], kind="stable")] for chunk in chunks])
        cuts = [ordered[i : i + self.batch_size] for i in range(0, len(ordered), self.batch_size)]
        return [cuts[i] for i in generator.permutation(len(cuts))]


def by_length(tokens: Tokens, rows: NDArray[np.int64], batch_size: int) -> Iterator[NDArray[np.int64]]:
    """Yield the rows in batches of similar length, for passes in which order does not matter."""
    ordered = rows[np.argsort(tokens.lengths[rows], kind="stable")]
    for start in range(0, len(ordered), batch_size):
        yield ordered[start : start + batch_size]


def by_tokens(tokens: Tokens, rows: NDArray[np.int64], most: int) -> Iterator[NDArray[np.int64]]:
    """Yield the rows in batches of similar length with at most `most` tokens, padding included, or a single row."""
    ordered = rows[np.argsort(tokens.lengths[rows], kind="stable")]
    lengths = tokens.lengths[ordered]
    start = 0
    for end in range(1, len(ordered) + 1):
        if end == len(ordered) or (end + 1 - start) * lengths[end] > most:
            yield ordered[start:end]
            start = end


def draw_rows(rows: NDArray[np.int64], count: int, seed: Sequence[int]) -> NDArray[np.int64]:
    """Draw `count` of `rows` at random, sorted, for a fixed probe."""
    drawn = np.random.default_rng(list(seed)).permutation(rows)[:count]
    return np.sort(drawn)
