"""A run that resumes with other versions, or on another machine, names both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import kdbench
from kdbench.core.errors import Stopped
from kdbench.core.spec import RunSpec
from kdbench.planning.plan import Plan
from kdbench.reporting.machines import machine_names, machine_note
from kdbench.reporting.provenance import machine_facts
from kdbench.results.store import Store
from kdbench.results.study import Run
from kdbench.training import runner
from tests.kdbench.small_runs import CPU, FEW, contents, plan, the_run, train

OFTEN = CPU.model_copy(update={"checkpoint_seconds": 0.0})


def begun(spec: RunSpec, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train some steps with kdbench 0.0.1 on another CPU, up to a checkpoint."""
    looks = iter([False] * 3 + [True] * 10)
    real = runner.environment
    with monkeypatch.context() as patch:
        patch.setattr(runner, "environment", lambda device: real(device) | {"kdbench": "0.0.1", "cpu": "A CPU"})
        with pytest.raises(Stopped):
            runner.execute(spec, store, OFTEN, FEW, should_stop=lambda: next(looks))
    assert store.run(spec.id).checkpoint.exists()


def the_run_of(made: Plan, store: Store) -> Run:
    """The plan's only run, as tables read it."""
    spec, folder = the_run(made), store.run(the_run(made).id)
    return Run(spec, folder, folder.state(), folder.result())


def test_both_environments_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, store = plan(tmp_path, methods="finetune"), Store(tmp_path / "results")
    spec = the_run(made)
    begun(spec, store, monkeypatch)
    train(made, store)
    run = the_run_of(made, store)
    assert [there["kdbench"] for there in run.environments] == ["0.0.1", kdbench.__version__]
    assert machine_names(run)[0] == "A CPU, 1 thread"
    assert machine_note([run]).startswith("The times cannot be compared: they are of different machines (A CPU,")
    assert machine_facts(run)["earlier steps"].startswith("A CPU  kdbench 0.0.1  ")


def test_the_same_environment_is_named_once(tmp_path: Path) -> None:
    made, store, looks = plan(tmp_path, methods="finetune"), Store(tmp_path / "results"), iter([False, True] * 9)
    with pytest.raises(Stopped):
        runner.execute(the_run(made), store, OFTEN, FEW, should_stop=lambda: next(looks))
    train(made, store)
    assert "earlier" not in store.run(the_run(made).id).environment()


def test_a_run_that_starts_anew_has_one_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its checkpoint is damaged, so no step of the other environment is left."""
    made, store = plan(tmp_path, methods="finetune"), Store(tmp_path / "results")
    spec = the_run(made)
    begun(spec, store, monkeypatch)
    file = store.run(spec.id).checkpoint
    file.write_bytes(file.read_bytes()[:100])
    train(made, store)
    assert "earlier" not in store.run(spec.id).environment()
    train(made, alone := Store(tmp_path / "alone"))
    assert contents(store, spec.id) == contents(alone, spec.id)


def test_small_micro_batches_cost_time(tmp_path: Path) -> None:
    made, store = plan(tmp_path, methods="finetune"), Store(tmp_path / "results")
    train(made, store)
    run = the_run_of(made, store)
    (name,) = machine_names(run)
    smaller = replace(run, state=run.state.model_copy(update={"micro_batch": 4}))
    assert machine_names(smaller) == [f"{name}, 4 rows in memory at once"]
    assert machine_note([run, smaller]).startswith("The times cannot be compared")
