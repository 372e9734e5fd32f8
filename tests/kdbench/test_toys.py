"""The engine carries every kind of method: snapshots, assistants, hidden states, adapters, meta-gradients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from kdbench.core.errors import Stopped, UserError
from kdbench.distill.method_registry import METHODS
from kdbench.results.store import Store
from kdbench.training import preflight
from kdbench.training.runner import execute
from kdbench.training.setup import prepare
from tests.kdbench.small_runs import CPU, FEW, added_plugins, contents, plan, the_run, train
from tests.kdbench.toys import TOYS


@pytest.fixture(autouse=True)
def toys() -> Iterator[None]:
    with added_plugins(METHODS, **TOYS):
        yield


def test_one_teacher_serves_all_of_them_and_keeps_its_route(tmp_path: Path) -> None:
    made = plan(tmp_path, methods="kd,route,hidden,adapter,meta")
    (teacher,) = [spec for spec in made.runs.values() if spec.method == "finetune"]
    assert made.shared() == {teacher.id: 5}
    assert teacher.snapshots == (0.34, 0.67)


@pytest.mark.slow
def test_a_route_asked_for_later_is_made_without_changing_the_teacher(tmp_path: Path) -> None:
    store = Store(tmp_path / "r")
    train(plan(tmp_path, methods="kd"), store)
    made = plan(tmp_path, methods="route")
    (teacher,) = [spec for spec in made.runs.values() if spec.method == "finetune"]
    before = contents(store, teacher.id)["model/model.safetensors"]
    assert store.run(teacher.id).is_done()
    assert not store.run(teacher.id).is_done(teacher.snapshots)
    train(made, store)
    assert contents(store, teacher.id)["model/model.safetensors"] == before
    weights = [(store.run(teacher.id).snapshot(s) / "model.safetensors").read_bytes() for s in teacher.snapshots]
    assert len({*weights, before}) == 3


@pytest.mark.slow
def test_a_route_asked_for_while_its_teacher_is_half_done(tmp_path: Path) -> None:
    """The snapshot was passed by before somebody wanted it: it is made all the same, and a later plan keeps it."""
    store = Store(tmp_path / "r")
    (plain,) = [s for s in plan(tmp_path, methods="kd").runs.values() if s.method == "finetune"]
    calls = iter(range(100))
    with pytest.raises(Stopped):
        execute(plain, store, CPU, FEW, should_stop=lambda: next(calls) == 6)
    (wanted,) = [s for s in plan(tmp_path, methods="route").runs.values() if s.method == "finetune"]
    calls = iter(range(100))
    with pytest.raises(KeyboardInterrupt):  # a kill after the first snapshot, before the next checkpoint
        execute(wanted, store, CPU, FEW, should_stop=lambda: next(calls) == 4 and _raise())
    execute(plain, store, CPU, FEW)
    assert store.run(wanted.id).is_done(wanted.snapshots)
    calm = Store(tmp_path / "calm")
    execute(wanted, calm, CPU, FEW)
    assert contents(store, wanted.id) == contents(calm, wanted.id)


def _raise() -> bool:
    raise KeyboardInterrupt


@pytest.mark.slow
def test_a_frozen_teacher_is_asked_anew_about_what_is_not_train(tmp_path: Path) -> None:
    made, store = plan(tmp_path, methods="meta"), Store(tmp_path / "r")
    spec = the_run(made)
    train(made, store)
    setup = prepare(spec, store, CPU, FEW)
    teacher = setup.context.frozen_teacher("teacher")
    batch, fed = setup.train.at(0), setup.context.feedback()
    assert torch.allclose(teacher.logits(batch), teacher.outputs(batch).logits, atol=1e-5)
    assert torch.equal(teacher.logits(fed), teacher.outputs(fed).logits)


def test_an_assistant_needs_its_teacher(tmp_path: Path) -> None:
    made = plan(tmp_path, methods="assistant")
    assert [spec.method for spec in made.runs.values()] == ["finetune", "kd", "assistant"]


def test_a_needed_run_with_default_options_is_the_run_that_a_user_would_ask_for(tmp_path: Path) -> None:
    asked = the_run(plan(tmp_path, methods="kd"))
    made = plan(tmp_path, methods="finetune")
    full = plan(tmp_path, methods="lgtm")
    whole = the_run(full).derive(method="kd", options={})
    assert made.add(whole) == asked.id


def test_a_misfit_is_refused_before_training(tmp_path: Path) -> None:
    made = plan(tmp_path, "teacher=tiny-2x64", methods="hidden")
    with pytest.raises(UserError, match="Method 'hidden' cannot teach tiny-2x32 on rte: hidden sizes 32 and 64 differ"):
        preflight.check(made, [CPU])
