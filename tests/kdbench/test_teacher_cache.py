"""What a frozen teacher says, kept on disk: the same numbers as without, and never those of another teacher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from kdbench.core.errors import RunFailure
from kdbench.core.settings import Training
from kdbench.data.batches import Batch, collate
from kdbench.data.splits import Part
from kdbench.data.tokens import InputFormat, Tokens
from kdbench.distill import frozen_teacher
from kdbench.distill.frozen_teacher import FrozenTeacher
from kdbench.distill.hidden_states import FeatureView
from kdbench.distill.trainable import ComputeSettings, TrainableModel
from kdbench.models import build, cls_only_layer, inference, reference

CPU = torch.device("cpu")
ROWS = np.arange(0, 150, 2)


@cache
def tokens() -> Tokens:
    rng = np.random.default_rng(5)
    starts = np.concatenate([[0], np.cumsum(rng.integers(3, 20, 150))])
    ids = rng.integers(5, 30, starts[-1]).astype(np.int32)
    return Tokens(ids, np.zeros_like(ids, np.int8), starts, rng.integers(0, 2, 150))


def teacher(folder: Path | None, seed: int = 0, some: Tokens | None = None, *, first: bool = False) -> FrozenTeacher:
    torch.manual_seed(seed)
    module = build.build(reference.resolve("tiny-3x32"), ("no", "yes"), "eager", tuple(f"w{i}" for i in range(40)))
    if first:
        cls_only_layer.install(module)
    return FrozenTeacher(module, some or tokens(), Part("train", ROWS), ComputeSettings(CPU, output_cache=folder))


def batch(role: str = "train") -> Batch:
    return collate(tokens(), ROWS[:16], CPU, role)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by the rows of every pass over all rows."""
    found: list[int] = []

    def counting(read: Callable[..., Tensor], toks: Tokens, rows: np.ndarray, device: torch.device) -> Tensor:
        found.append(len(rows))
        return inference.compute_rows(read, toks, rows, device)

    monkeypatch.setattr(frozen_teacher, "compute_rows", counting)
    return found


@pytest.mark.parametrize("view", [FeatureView(), FeatureView((1, 2))])
def test_what_is_looked_up_is_what_is_computed(tmp_path: Path, view: FeatureView) -> None:
    computed = teacher(None).features(batch("feedback"), view)
    for _ in ("made", "read back"):
        torch.testing.assert_close(teacher(tmp_path).features(batch(), view), computed, atol=1e-6, rtol=1e-5)


def test_states_of_the_first_token_are_refused_where_it_is_padding() -> None:
    some = replace(tokens(), format=InputFormat(side="left"))
    left, frozen = collate(some, ROWS[:4], CPU), teacher(None, some=some)
    frozen.logits(left)
    learner = TrainableModel(frozen.module.requires_grad_(True), lr=1.0, length=1, training=Training(), device=CPU)
    reads = (frozen.features, frozen.head_inputs, lambda batch, view: learner.outputs(batch, **view.output_flags))
    for read in reads:
        with pytest.raises(RunFailure, match="pads on the left"):
            read(left, FeatureView((1,)))


def test_the_head_s_input_is_looked_up_too(tmp_path: Path) -> None:
    view = FeatureView((1,))
    found_ones, wanted_ones = (
        teacher(tmp_path).head_inputs(batch(), view),
        teacher(None).head_inputs(batch("feedback"), view),
    )
    for found, wanted in zip(found_ones, wanted_ones, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5)


def test_one_pass_serves_everybody_with_the_same_teacher(tmp_path: Path, passes: list[int]) -> None:
    first, second = (teacher(tmp_path).logits(batch()) for _ in range(2))
    assert passes == [len(ROWS)]
    assert torch.equal(first, second)
    assert torch.equal(first, teacher(None).logits(batch()))  # as without a folder, to the bit


def test_another_teacher_other_texts_other_kernels_another_last_layer_are_another_table(
    tmp_path: Path, passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher(tmp_path).logits(batch())
    assert not torch.equal(teacher(tmp_path, seed=1).logits(batch()), teacher(tmp_path).logits(batch()))
    longer = tokens()
    longer.ids[0] += 1
    teacher(tmp_path, some=longer).logits(batch())
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        teacher(tmp_path).logits(batch())
    teacher(tmp_path).features(batch(), FeatureView((1,)))
    for _ in range(2):
        teacher(tmp_path, first=True).logits(batch())
    assert len(passes) == 6


def test_a_table_that_is_damaged_or_of_another_teacher_is_made_again(tmp_path: Path, passes: list[int]) -> None:
    wanted = teacher(tmp_path).logits(batch())
    (file,) = tmp_path.glob("*.safetensors")
    whole = file.read_bytes()
    for damaged in (whole[:-9], whole[:-1] + bytes([whole[-1] ^ 1]), b"", b"no table"):
        file.write_bytes(damaged)
        assert torch.equal(teacher(tmp_path).logits(batch()), wanted)
    teacher(tmp_path, seed=1).logits(batch())
    (other,) = set(tmp_path.glob("*.safetensors")) - {file}
    file.write_bytes(other.read_bytes())  # whole, and wrong: seen by the rows that are computed again
    assert torch.equal(teacher(tmp_path).logits(batch()), wanted)
    assert len(passes) == 7


def test_what_would_be_too_large_is_computed_batch_by_batch(
    tmp_path: Path, passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frozen_teacher, "MAX_TABLE_BYTES", len(ROWS) * 2 * 4 - 1)
    assert torch.equal(teacher(tmp_path).logits(batch()), teacher(None).logits(batch("feedback")))
    assert passes == []
    assert not list(tmp_path.iterdir())


def test_a_pass_in_batches_by_tokens_says_the_same_but_for_the_last_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, under a key of its own; on the CPU the key is what it was."""
    of_64 = teacher(None).logits(batch())
    monkeypatch.setattr(inference, "EVAL_TOKENS", 100)
    by_tokens = partial(inference.evaluation_batches, device=torch.device("cuda"))
    monkeypatch.setattr(inference, "evaluation_batches", lambda tokens, rows, device: by_tokens(tokens, rows))
    assert len(list(inference.evaluation_batches(tokens(), ROWS, CPU))) > len(ROWS) // 64 + 1
    torch.testing.assert_close(teacher(None).logits(batch()), of_64, atol=1e-6, rtol=1e-5)
    assert inference.describe_batches(CPU) == ()
    assert inference.describe_batches(torch.device("cuda")) == ("batches of 100 tokens",)
