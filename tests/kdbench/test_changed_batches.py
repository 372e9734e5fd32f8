"""A frozen teacher answers for the tokens in the batch: looked up where they are the row's own, else computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from kdbench.data.batches import Batch, collate
from kdbench.distill.frozen_teacher import FrozenTeacher
from kdbench.distill.hidden_states import FeatureView
from tests.kdbench.test_teacher_cache import CPU, ROWS, batch, teacher, tokens

VIEW = FeatureView((1,))
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def edited(made: Batch, edit: Callable[[Tensor], object]) -> Batch:
    edit(made.input_ids)
    return made


def mixed(made: Batch) -> Batch:
    """Every other row's tokens in the place of the row's own."""
    order = torch.arange(len(made) - 1, -1, -1)
    return replace(made, **{name: made.inputs[name][order] for name in made.inputs})


def relabelled(made: Batch) -> Batch:
    return replace(made, labels=1 - made.labels)


CHANGES: dict[str, Callable[[Batch], Batch]] = {
    "others in their place": lambda b: replace(b, input_ids=b.input_ids.flip(0)),
    "mixed rows": mixed,
    "written in place": lambda b: edited(b, lambda ids: ids.__setitem__((slice(None), 1), 7)),
    "filled in place": lambda b: edited(b, lambda ids: ids[:, 1:].fill_(7)),
    "written through data": lambda b: edited(b, lambda ids: ids.data.fill_(7)),
    "written through numpy": lambda b: edited(b, lambda ids: ids.numpy().fill(7)),
    "no padding seen": lambda b: replace(b, attention_mask=torch.ones_like(b.attention_mask)),
    "shorter": lambda b: replace(b, **{name: value[:, :3] for name, value in b.inputs.items()}),
    "tokens of row 0, index of others": lambda b: replace(collate(tokens(), ROWS[16:32], CPU), index=b.index),
}
SELECTED: dict[str, Callable[[Batch], Batch]] = {
    "every second row": lambda b: replace(b, **{k: v[::2] for k, v in vars(b).items() if isinstance(v, Tensor)}),
    "another order": lambda b: replace(b, **{k: v.flip(0) for k, v in vars(b).items() if isinstance(v, Tensor)}),
    "made anew": lambda b: Batch(b.input_ids, b.attention_mask, b.token_type_ids, b.labels, b.index),
}


def passes(made: FrozenTeacher) -> list[int]:
    """Grows by the rows of every pass from now on."""
    found: list[int] = []
    made.module.register_forward_pre_hook(lambda _, __, given: found.append(len(given["input_ids"])), with_kwargs=True)
    return found


def test_an_untouched_batch_is_looked_up_and_so_is_one_with_other_labels() -> None:
    made = teacher(None)
    first = made.logits(batch())
    seen = passes(made)
    assert torch.equal(made.logits(batch()), first)
    assert torch.equal(made.logits(relabelled(batch())), first)
    assert seen == []


@pytest.mark.parametrize("name", [*CHANGES, *SELECTED])
def test_a_changed_batch_is_computed(name: str) -> None:
    made, change = teacher(None), {**CHANGES, **SELECTED}[name]
    original = made.logits(batch())
    made.head_inputs(batch(), VIEW)  # all tables are there
    made.features(batch(), VIEW)
    changed = change(batch())
    wanted = made.outputs(changed, output_hidden_states=True)
    torch.testing.assert_close(made.logits(changed), wanted.logits, **CLOSE)
    torch.testing.assert_close(made.features(changed, VIEW), VIEW(wanted), **CLOSE)
    torch.testing.assert_close(made.head_inputs(changed, VIEW)[1], VIEW(wanted), **CLOSE)
    assert made.head_inputs(changed, VIEW)[0].shape == (len(changed), made.head_width)
    if name in CHANGES:
        assert (made.logits(changed) - original).abs().max() > 1e-4  # what the cache would have said


def test_a_batch_of_another_split_is_computed() -> None:
    """Its index counts other rows."""
    made, other = teacher(None), replace(tokens(), ids=tokens().ids[::-1].copy())
    foreign = collate(other, ROWS[:16], CPU)
    torch.testing.assert_close(made.logits(foreign), made.outputs(foreign).logits, **CLOSE)


def test_without_numbers_a_change_is_noticed_all_the_same() -> None:
    """As on a GPU, whose numbers nobody waits for."""
    meta = torch.device("meta")
    untouched, in_place = (collate(tokens(), np.arange(4), meta) for _ in range(2))
    in_place.input_ids[:, 0] = 1
    assert untouched.is_drawn_from(tokens())
    assert relabelled(untouched).is_drawn_from(tokens())
    assert not in_place.is_drawn_from(tokens())
    assert not replace(untouched, input_ids=untouched.input_ids.clone()).is_drawn_from(tokens())
    assert not replace(untouched, index=untouched.index.flip(0)).is_drawn_from(tokens())
