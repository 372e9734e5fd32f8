"""Batches: every row once an epoch, little padding, a function of seed and step."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from kdbench.data.batches import Stream, by_tokens, collate, copy_to_device
from kdbench.data.tokens import Tokens

CPU = torch.device("cpu")


def split(lengths: list[int]) -> Tokens:
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = np.concatenate([np.full(n, row + 5, np.int32) for row, n in enumerate(lengths)])
    return Tokens(ids, np.zeros(len(ids), np.int8), starts, np.arange(len(lengths)) % 2)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=120), st.integers(1, 16), st.integers(0, 9))
def test_an_epoch_is_every_row_once(lengths: list[int], batch_size: int, seed: int) -> None:
    stream = Stream(split(lengths), np.arange(len(lengths)), batch_size, seed, "train", CPU)
    for epoch in range(2):
        steps = range(epoch * stream.batches_per_epoch, (epoch + 1) * stream.batches_per_epoch)
        rows = torch.cat([stream.at(step).index for step in steps]).tolist()
        assert sorted(rows) == list(range(len(lengths)))


@given(st.lists(st.integers(1, 30), min_size=1, max_size=40))
def test_padding_hides_nothing(lengths: list[int]) -> None:
    batch = collate(split(lengths), np.arange(len(lengths)), CPU)
    assert batch.input_ids.shape == (len(lengths), max(lengths))
    for row, length in enumerate(lengths):
        assert batch.attention_mask[row].sum() == length
        assert batch.input_ids[row, :length].tolist() == [row + 5] * length


def test_a_batch_is_one_copy_that_nobody_waits_for() -> None:
    copies = []

    class Copies(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is torch.ops.aten._to_copy.default:
                copies.append(kwargs["non_blocking"])
            return func(*args, **(kwargs or {}))

    with Copies():
        batch = collate(split([3, 5, 2]), np.arange(3), torch.device("meta"))
    assert copies == [True]
    assert [tuple(t.shape) for t in batch.inputs.values()] == [(3, 5)] * 3
    assert batch.labels.shape == batch.index.shape == (3,)
    arrays = [np.arange(6).reshape(2, 3), np.array([7]), np.arange(4)[::-1]]
    for array, tensor in zip(arrays, copy_to_device(arrays, CPU), strict=True):
        assert np.array_equal(tensor.numpy(), array)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, and its memory is really pinned")
def test_what_a_gpu_gets_is_asked_for_in_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, empty = [], torch.empty

    def noting(*args: Any, pin_memory: bool, **more: Any) -> torch.Tensor:
        asked.append(pin_memory)
        return empty(*args, **more)

    monkeypatch.setattr(torch, "empty", noting)
    copy_to_device([np.arange(2)], CPU)
    with pytest.raises((AssertionError, RuntimeError)):  # from torch: the copy finds no GPU
        collate(split([3, 5]), np.arange(2), torch.device("cuda"))
    assert asked == [False, True]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=120), st.integers(1, 200))
def test_batches_by_tokens_are_full_and_not_too_full(lengths: list[int], most: int) -> None:
    tokens, rows = split(lengths), np.arange(len(lengths))
    batches = list(by_tokens(tokens, rows, most))
    assert sorted(np.concatenate(batches).tolist()) == rows.tolist()
    for batch, after in zip(batches, [*batches[1:], None], strict=True):
        longest = tokens.lengths[batch].max()
        assert len(batch) == 1 or len(batch) * longest <= most
        if after is not None:  # no room for one more
            assert (len(batch) + 1) * tokens.lengths[after].min() > most


def test_any_step_can_be_asked_for_first() -> None:
    """Resuming needs the step and nothing else."""
    tokens = split([1 + i % 17 for i in range(200)])
    walked = Stream(tokens, np.arange(200), 8, 3, "train", CPU)
    expected = [walked.at(step).index.tolist() for step in range(60)]
    for step in (59, 0, 31, 25):
        assert Stream(tokens, np.arange(200), 8, 3, "train", CPU).at(step).index.tolist() == expected[step]


def test_streams_differ_by_seed_epoch_and_name() -> None:
    tokens, rows = split([1 + i % 17 for i in range(200)]), np.arange(200)
    first = Stream(tokens, rows, 8, 0, "train", CPU).at(0).index.tolist()
    assert Stream(tokens, rows, 8, 1, "train", CPU).at(0).index.tolist() != first
    assert Stream(tokens, rows, 8, 0, "feedback", CPU).at(0).index.tolist() != first
    assert Stream(tokens, rows, 8, 0, "train", CPU).at(25).index.tolist() != first


def padding(bucket: int) -> float:
    """The share of an epoch's tokens."""
    lengths = np.random.default_rng(0).integers(5, 100, 3200).tolist()
    stream = Stream(split(lengths), np.arange(3200), 32, 0, "train", CPU, bucket)
    batches = [stream.at(step) for step in range(stream.batches_per_epoch)]
    return 1 - sum(int(b.attention_mask.sum()) for b in batches) / sum(b.attention_mask.numel() for b in batches)


def test_bucketing_leaves_little_padding() -> None:
    assert padding(50) < 0.05 < 0.4 < padding(1)


def test_without_buckets_rows_come_as_they_were_drawn() -> None:
    """Lengths of neighbours in a batch have nothing to do with each other, and every row comes once."""
    lengths = np.random.default_rng(0).integers(5, 100, 3200)
    stream = Stream(split(lengths.tolist()), np.arange(3200), 32, 0, "train", CPU, bucket=1)
    batches = [lengths[stream.at(step).index.numpy()] for step in range(100)]
    between = np.var([batch.mean() for batch in batches])
    assert between < 3 * lengths.var() / 32  # of means of 32 independent rows; with buckets it is nearly all of it
    assert sorted(np.concatenate(batches)) == sorted(lengths)


@given(st.integers(1, 90), st.integers(2, 16), st.integers(1, 4), st.integers(0, 9))
def test_the_short_batch_holds_random_rows_and_every_other_batch_is_full(
    n: int, size: int, bucket: int, seed: int
) -> None:
    """Sorted with the others, it would hold the longest rows of every epoch."""
    tokens = split([row % 29 + 1 for row in range(n)])
    stream = Stream(tokens, np.arange(n), size, seed, "train", CPU, bucket)
    batches = [stream.at(step).index.tolist() for step in range(stream.batches_per_epoch)]
    short = [rows for rows in batches if len(rows) < size]
    drawn = np.random.default_rng([seed, zlib.crc32(b"train"), 0]).permutation(np.arange(n))
    assert [sorted(rows) for rows in short] == ([sorted(drawn[-(n % size) :])] if n % size else [])


def test_the_earlier_order_can_be_had() -> None:
    lengths = np.random.default_rng(1).permutation(np.arange(1, 51))
    stream = Stream(split(lengths.tolist()), np.arange(50), 16, 0, "train", CPU, random_rest=False)
    (short,) = [b for b in map(stream.at, range(4)) if len(b) < 16]
    assert sorted(lengths[short.index.numpy()]) == [49, 50]


def test_some_examples_of_a_batch_are_a_batch() -> None:
    batch = collate(split([3, 5, 2]), np.arange(3), CPU)
    part = batch.rows(slice(1, 3))
    assert part.index.tolist() == [1, 2]
    assert torch.equal(part.input_ids, batch.input_ids[1:])
    assert len(part) == 2
