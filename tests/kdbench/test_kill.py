"""SIGKILL at any moment, then the same command: the bytes of an undisturbed run."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kdbench.distill.method_registry import METHODS
from kdbench.planning.config import assemble_config, parse_sets
from kdbench.planning.make_plan import make_plan
from kdbench.results.store import Store
from kdbench.training import checkpoint
from tests.conftest import one_fast
from tests.kdbench.small_runs import FEW, SMALL, contents, fork, interrupt, the_run, train

SETS = [*SMALL, "epochs=4", "train_rows=64", "eval_every=3"]  # long enough to be killed on the way
SETS += [f"{key}={value}" for key, value in FEW.model_dump().items()]


def task_of(method: str) -> str:
    """Return a task with enough classes for the method."""
    return "rte" if METHODS.get(method).least_classes <= 2 else "mnli"


def command(method: str, task: str = "rte") -> list[str]:
    sets = [part for pair in [*SETS, "checkpoint_seconds=0.03", "threads=1"] for part in ("--set", pair)]
    return ["run", "--methods", method, "--tasks", task, "--device", "cpu", *sets]


def finished_steps(store: Store, run: str) -> int:
    try:
        return int(checkpoint.read(store.run(run).checkpoint)[1]["step"])
    except Exception:
        return 0


def wait_for(store: Store, run: str, point: int, alive: Callable[[], bool]) -> None:
    while finished_steps(store, run) < point and alive():
        time.sleep(0.01)


def was_interrupted(store: Store, run: str) -> None:
    assert not store.run(run).is_done(), "the process was too quick to be killed"
    assert store.run(run).state().status == "interrupted"


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Undisturbed runs, whose teachers are shared."""
    return Store(tmp_path_factory.mktemp("calm") / "results")


@pytest.mark.parametrize("method", one_fast(METHODS.all(), "kd"))
def test_killed_and_resumed_equals_undisturbed(method: str, calm: Store, tmp_path: Path) -> None:
    check_resumed(method, task_of(method), calm, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["kd", "lgtm", "takd"])
def test_so_is_a_regression(method: str, calm: Store, tmp_path: Path) -> None:
    check_resumed(method, "stsb", calm, tmp_path)


def check_resumed(method: str, task: str, calm: Store, tmp_path: Path) -> None:
    """Kill a run twice, and compare what it leaves with an undisturbed one."""
    made = make_plan(assemble_config({**parse_sets(SETS), "methods": method, "tasks": task}, tmp_path))
    train(made, calm)
    run, store = the_run(made).id, Store(tmp_path / "results")
    for needed in made.runs.keys() - {run}:
        shutil.copytree(calm.run(needed).path, store.run(needed).path)
    said = tmp_path / "said.txt"
    for point in (2, 7):
        process = fork(tmp_path, said, *command(method, task))
        wait_for(store, run, point, process.is_alive)
        process.kill()
        process.join()
        was_interrupted(store, run)
    process = fork(tmp_path, said, *command(method, task))
    process.join(120)
    assert process.exitcode == 0, said.read_text()
    assert "going on at step" in said.read_text()
    assert contents(store, run) == contents(calm, run)


@pytest.mark.slow
def test_ctrl_c_leaves_everything_resumable(tmp_path: Path) -> None:
    """Exit code 130, a sentence, a checkpoint; the same command goes on and trains nothing twice."""
    args = ["run", "--methods", "finetune", "--tasks", "rte,mrpc", "--jobs", "1"]
    args += ["--set", "epochs=40", "--set", "train_rows=200"]
    store, said = Store(tmp_path / "results", create=False), tmp_path / "said.txt"
    process = fork(tmp_path, said, *args)
    while not [run for run in store.runs() if run.state().step] and process.is_alive():
        time.sleep(0.05)
    interrupt(process, said)
    (run,) = store.runs()
    assert run.state().status == "interrupted"
    assert run.checkpoint.exists()
