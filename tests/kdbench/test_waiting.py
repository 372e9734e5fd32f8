"""No step waits for the device that trains.

There is no GPU here. The steps are made on torch's `meta` device, whose tensors have shapes and no numbers: whatever a
GPU would have to be waited for (a number, a truth value, the places of a mask, a copy to the host) cannot be had there,
and fails. Copies to the device are looked at as well.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS as MASKS

from kdbench.data.batches import Batch
from kdbench.distill import bilevel
from kdbench.distill.context import seed_everything
from kdbench.distill.cost_meter import CostMeter
from kdbench.distill.method_registry import METHODS
from kdbench.models import matmul_precision
from kdbench.planning.plan import Plan
from kdbench.results.store import Store
from kdbench.training.runner import execute
from kdbench.training.setup import Setup, numerics, prepare
from tests.kdbench.small_runs import CPU, FEW, plan, the_run, train

META = CPU.model_copy(update={"device": "meta"})
STILL = FEW.model_copy(update={"influence_samples": 0})  # what is followed is written down, and so waited for
FORMS = [(name,) for method, kind in METHODS.all().items() for name in (method, *kind.variants)]
OPTIONS = [
    ("kd", "attention=sdpa"), ("pkd", "max_grad_norm=1"), ("prokt", "prokt.dual=true"),
    ("skd", "skd.ce_on=raw", "skd.norm=std"), ("rco", "rco.restart_schedule=true"),
    ("pesf_kd", "pesf_kd.soft=corrected"), ("lgtm", "attention=sdpa"), ("lgtm", "lgtm.influence=fda"),
    ("lgtm", "lgtm.lookahead=adam", "lgtm.precondition=true", "max_grad_norm=1"),
    ("lgtm", "lgtm.influence_coef=match_aux:0.5"), ("lgtm", "lgtm.influence=weighted"),
    ("lgtm", "lgtm.influence_center=batch", "lgtm.influence_bound=0.5"),
]  # fmt: skip
STEPS = 2


class Waits(AssertionError):
    """Something that the host would have to wait for."""


class NoLists(TorchFunctionMode):
    """Numbers of the host are not put on the device one by one: that copy is from memory that is not pinned."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and torch.device(given.get("device") or "cpu").type != "cpu":
            raise Waits(f"{func.__name__} on the device")
        return func(*args, **given)


class NoCopies(TorchDispatchMode):
    """Nothing is copied to the device but batches, and nothing is written at the places of a mask."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if func is torch.ops.aten._to_copy.default:
            there = given.get("device") or args[0].device
            if args[0].device.type != there.type and not given.get("non_blocking"):
                raise Waits(f"a copy from {args[0].device} to {there}")
        if func is torch.ops.aten.copy_.default and args[0].device.type != args[1].device.type:
            raise Waits(f"a copy from {args[1].device} to {args[0].device}")
        if func in (torch.ops.aten.index_put_.default, torch.ops.aten.index_put.default) and any(
            place is not None and place.dtype == torch.bool for place in args[1]
        ):
            raise Waits("writing at the places of a mask")
        return func(*args, **given)


@contextmanager
def nothing_waits() -> Iterator[None]:
    with NoLists(), NoCopies():
        yield


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("waiting") / "results")


def on_meta(folder: Path, store: Store, method: str, *sets: str) -> Setup:
    """A run whose networks have no numbers, before its first step; what it needs was trained as usual."""
    made = plan(folder, "epochs=1", "train_rows=80", *sets, methods=method)
    spec = the_run(made)
    train(Plan(made.preset, made.study, {k: v for k, v in made.runs.items() if k != spec.id}), store)
    setup = prepare(spec, store, META, STILL)
    # tables of meta tensors cannot be stored on disk
    setup.context._compute = replace(setup.context._compute, output_cache=None)
    for frozen in setup.context.frozen_networks.values():
        frozen._folder = None
    return setup


def make_steps(setup: Setup, change: Callable[[dict[str, Tensor]], object] = lambda logs: None) -> None:
    """The first steps, of which the first may make tables; `change` is done with what each step logs."""
    with numerics(setup.spec, torch.device("cpu"), CPU.threads):
        for step in range(STEPS):
            setup.context.step = step
            seed_everything(0, "step", step)
            if step:
                with nothing_waits():
                    change(setup.method.step(setup.train.at(step)))
            else:
                setup.method.step(setup.train.at(step))


@pytest.fixture(autouse=True)
def what_meta_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no autocast to be switched off, and is not in the list of devices for the fused optimiser."""
    adam = sys.modules[torch.optim.Adam.__module__]
    monkeypatch.setattr(adam, "_device_dtype_check_for_fused", lambda *_, **__: None)
    for module in (bilevel, matmul_precision):
        monkeypatch.setattr(module, "exact_float32", lambda device: nullcontext())


@pytest.mark.slow
@pytest.mark.parametrize("form", [*FORMS, *OPTIONS], ids=" ".join)
def test_no_step_of_any_method_waits(form: tuple[str, ...], store: Store, tmp_path: Path) -> None:
    make_steps(on_meta(tmp_path, store, *form))


@pytest.mark.slow
@pytest.mark.parametrize(
    "wait",
    [
        lambda loss, z: loss.item(), lambda loss, z: float(loss), lambda loss, z: loss.tolist(),
        lambda loss, z: loss.cpu(), lambda loss, z: loss > 0 or loss, lambda loss, z: z[z > 0],
        lambda loss, z: z.nonzero(), lambda loss, z: torch.equal(z, z), lambda loss, z: min(loss, 1.0),
        lambda loss, z: z.masked_fill_(z > 0, 0.0).__setitem__(z > 1, 0.0),
        lambda loss, z: torch.tensor([1.0, 2.0], device=z.device), lambda loss, z: torch.ones(2).to(z.device),
        lambda loss, z: z.copy_(torch.ones(len(z), 2)),
    ],
)  # fmt: skip
def test_whatever_waits_is_noticed(
    wait: Callable[[Tensor, Tensor], object], store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = on_meta(tmp_path, store, "finetune")
    step = setup.method.step

    def waiting(batch: Batch) -> dict[str, Tensor]:
        logs = step(batch)
        if setup.context.step:
            wait(logs["loss"], setup.context.learners["student"].target_logits(batch))
        return logs

    monkeypatch.setattr(setup.method, "step", waiting)
    with pytest.raises((Waits, RuntimeError), match=r"[Mm]eta|on the device|a copy|mask"):
        make_steps(setup)


def test_a_look_at_the_padding_would_be_noticed(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As transformers does it by itself, in every pass."""
    setup = on_meta(tmp_path, store, "finetune")
    for kind in ("eager", "sdpa"):
        monkeypatch.delitem(MASKS._local_mapping, kind)
    with pytest.raises(RuntimeError, match="meta"):
        make_steps(setup)


def test_the_loop_waits_where_something_is_due_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, store, waits = plan(tmp_path, "eval_every=3", methods="finetune"), Store(tmp_path / "r"), list[int]()
    monkeypatch.setattr(CostMeter, "_synchronize", lambda meter: waits.append(meter.counts.rows))
    spec = the_run(made)
    execute(spec, store, CPU, STILL)
    steps = store.run(spec.id).state().total
    assert steps == 12
    assert len(waits) == 2 * len([0, 3, 6, 9, 12])  # before and after each evaluation
    assert waits[::2] == waits[1::2]
