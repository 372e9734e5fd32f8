"""Batches for contestants that bring their own loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from benchmarks.work import BATCH, MAX_LENGTH, How, Work, tokens
from kdbench.data.batches import Batch, Stream

Example = dict[str, Any]


def stream(work: Work, steps: int) -> Stream:
    """kdbench's batches of like length over the rows of `steps` steps, repeated where there are not as many."""
    every = tokens(work)
    rows = np.random.default_rng(work.seed).permutation(len(every))
    return Stream(every, np.resize(rows, steps * BATCH), BATCH, work.seed, "train", torch.device(work.device))


def examples(work: Work) -> list[Example]:
    """All training rows, as a tokenizer gives them."""
    every = tokens(work)
    return [
        {
            "input_ids": every.ids[a:b].tolist(),
            "token_type_ids": every.types[a:b].tolist(),
            "attention_mask": [1] * int(b - a),
            "labels": int(label),
        }
        for a, b, label in zip(every.starts[:-1], every.starts[1:], every.labels, strict=True)
    ]


def collator(work: Work, how: How) -> Callable[[Sequence[Example]], Mapping[str, Tensor]]:
    """Collate as most users would, with `DataCollatorWithPadding`."""
    from transformers import DataCollatorWithPadding

    from benchmarks.work import data
    from kdbench.models import build, reference

    tokenizer = build.tokenizer(reference.resolve(work.student), tuple(data(work.location).vocabulary))
    if how.padding == "fixed":
        return DataCollatorWithPadding(tokenizer, padding="max_length", max_length=MAX_LENGTH)  # type: ignore[no-any-return]
    return DataCollatorWithPadding(tokenizer)  # type: ignore[no-any-return]


def order(work: Work, how: How, steps: int) -> list[list[int]]:
    """Return the rows of each batch: of like length if so asked for, else as they come."""
    batches = stream(work, steps)
    if how.padding == "bucketed":
        return [batches.at(step).index.tolist() for step in range(steps)]
    rows: list[list[int]] = batches.rows.reshape(steps, BATCH).tolist()
    return rows


def loader(work: Work, how: How, collate: Callable[[Sequence[Example]], Any]) -> DataLoader[Any]:
    """Return a loader of the batches of warm-up and steps."""
    rows = order(work, how, work.warmup) + order(work, how, work.steps)
    return DataLoader(examples(work), batch_sampler=rows, collate_fn=collate)  # type: ignore[arg-type]


def padded(batch: Batch) -> Batch:
    """Return the batch with every row at 128 tokens."""
    more = (0, MAX_LENGTH - batch.input_ids.shape[1])
    wide = {key: functional.pad(value, more) for key, value in batch.inputs.items()}
    return replace(batch, **wide)  # type: ignore[arg-type]  # none of the keys is `role`
