"""Packed dropout masks are what dropout's masks should be, and cheaper."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, chi2_contingency
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional

from kdbench.core.errors import Stopped
from kdbench.models.packed_dropout import LEVELS, use_packed_masks
from kdbench.results.store import Store
from kdbench.training.runner import execute
from kdbench.training.setup import numerics
from tests.kdbench.small_networks import CLOSE, a_batch, assert_close, derivatives, learner
from tests.kdbench.small_runs import CPU, FEW, contents, plan, the_run, train

SURE = 1e-6  # how unlikely what is taken for an error must be


def mask(shape: tuple[int, ...], p: float, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    torch.manual_seed(seed)
    with use_packed_masks():
        return functional.dropout(torch.ones(shape, dtype=dtype), p)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9, 0.003])
def test_as_many_are_dropped_as_should_be(p: float) -> None:
    dropped = int((mask((1000, 1000), p) == 0).sum())
    assert binomtest(dropped, 10**6, round(p * LEVELS) / LEVELS).pvalue > SURE


@pytest.mark.parametrize("apart", [1, 2, 3, 4, 5, 64])
def test_elements_are_dropped_independently(apart: int) -> None:
    """Also those that share a draw."""
    kept = mask((2**20,), 0.3) != 0
    one, other = kept[:-apart], kept[apart:]
    table = [
        [int((one & other).sum()), int((one & ~other).sum())],
        [int((~one & other).sum()), int((~one & ~other).sum())],
    ]
    assert chi2_contingency(table).pvalue > SURE


def test_calls_are_independent_and_follow_the_seed() -> None:
    torch.manual_seed(5)
    with use_packed_masks():
        first, second = (functional.dropout(torch.ones(10**5), 0.5) for _ in range(2))
    agree = int((first == second).sum())
    assert binomtest(agree, 10**5, 0.5).pvalue > SURE
    assert torch.equal(mask((10**5,), 0.5, seed=5), first)


@given(
    p=st.floats(1e-7, 1 - 1e-7),
    count=st.integers(0, 70),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float64]),
)
def test_what_is_kept_is_scaled_so_that_the_mean_stays(p: float, count: int, dtype: torch.dtype) -> None:
    dropped = min(max(round(p * LEVELS), 1), LEVELS - 1) / LEVELS
    found = mask((count,), p, dtype=dtype)
    assert found.dtype == dtype
    wanted = torch.tensor(1 / (1 - dropped), dtype=dtype)
    assert all(value in (0, wanted) for value in found)


def test_gradient_forward_derivative_and_second_derivative_pass_the_same_mask() -> None:
    x = torch.randn(50, 7, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(0)
    with use_packed_masks():
        y = functional.dropout(x, 0.4)
        (first,) = torch.autograd.grad(y.square().sum() / 2, x, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), x)
        torch.manual_seed(0)
        with forward_ad.dual_level():
            tangent = forward_ad.unpack_dual(
                functional.dropout(forward_ad.make_dual(x.detach(), torch.ones_like(x)), 0.4)
            ).tangent
    scaled = y.detach() / x.detach()
    torch.testing.assert_close(first.detach(), x.detach() * scaled**2)
    torch.testing.assert_close(second, scaled**2)
    torch.testing.assert_close(tangent, scaled)


@pytest.mark.parametrize("given", [{"training": False}, {"p": 0.0}, {"p": 1.0}])
def test_what_drops_nothing_or_all_is_left_to_torch(given: dict[str, Any]) -> None:
    x, before = torch.randn(9), torch.get_rng_state()
    with use_packed_masks():
        found = functional.dropout(x, **given)
    assert torch.equal(found, functional.dropout(x, **given))
    if given != {"p": 1.0}:
        assert torch.equal(torch.get_rng_state(), before)


def test_it_ends_with_the_block_also_after_an_error() -> None:
    torchs = functional.dropout
    with suppress(ZeroDivisionError), use_packed_masks():
        assert functional.dropout is not torchs
        raise ZeroDivisionError
    assert functional.dropout is torchs


@pytest.mark.parametrize("rows", [1, 5, 16])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_batch_in_pieces_drops_the_same(rows: int, attention: str) -> None:
    with use_packed_masks():
        whole = derivatives(learner(0, attention=attention), a_batch())
        assert_close(derivatives(learner(rows, attention=attention), a_batch()), whole, CLOSE)
    assert not torch.equal(derivatives(learner(0, attention=attention), a_batch())[0], whole[0])


def test_the_setting_is_part_of_a_runs_identity_and_reaches_the_networks(tmp_path: Path) -> None:
    plain, other = (the_run(plan(tmp_path, f"dropout={how}", methods="finetune")) for how in ("torch", "packed"))
    assert plain.id == the_run(plan(tmp_path, methods="finetune")).id != other.id
    module, torchs = nn.Dropout(0.5), functional.dropout
    for spec in (plain, other):
        with numerics(spec, torch.device("cpu"), 1):
            torch.manual_seed(0)
            found = module(torch.ones(1000))
        assert torch.equal(found, mask((1000,), 0.5)) == (spec is other)
        assert functional.dropout is torchs


@pytest.mark.slow
def test_a_run_stopped_and_resumed_equals_an_undisturbed_one(tmp_path: Path) -> None:
    made = plan(tmp_path, "dropout=packed", methods="lgtm")
    whole, parted = (Store(tmp_path / name) for name in ("whole", "parted"))
    train(made, whole)
    stops = iter([False, False, True, *[False] * 1000])
    with pytest.raises(Stopped):
        execute(the_run(made), parted, CPU, FEW, should_stop=lambda: next(stops))
    execute(the_run(made), parted, CPU, FEW)
    run = the_run(made).id
    assert contents(parted, run) == contents(whole, run)
