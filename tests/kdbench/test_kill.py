"""SIGKILL at any moment, then the same command: the bytes of an undisturbed run."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from kdbench.cli.app import app
from kdbench.distill.method import METHODS
from kdbench.planning.config import assemble_config, parse_sets
from kdbench.planning.plan import make_plan
from kdbench.results.store import Store
from kdbench.training import checkpoint
from tests.conftest import one_fast
from tests.kdbench.small_runs import FEW, SMALL, contents, start, the_run, train

SETS = [*SMALL, "epochs=8", *(f"{key}={value}" for key, value in FEW.model_dump().items())]


def command(method: str) -> list[str]:
    sets = [part for pair in [*SETS, "checkpoint_seconds=0.03", "threads=1"] for part in ("--set", pair)]
    return ["run", "--methods", method, "--tasks", "rte", "--device", "cpu", *sets]


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


def same_command(folder: Path, method: str) -> None:
    """What `kdbench run` does, in a process that has imported everything already."""
    os.chdir(folder)
    with (folder / "said.txt").open("w") as out, redirect_stdout(out), redirect_stderr(out):
        code = app(command(method), standalone_mode=False)
    os._exit(code)


@pytest.mark.parametrize("method", one_fast(METHODS.all(), "kd"))
def test_killed_and_resumed_equals_undisturbed(method: str, tmp_path: Path) -> None:
    made = make_plan(assemble_config({**parse_sets(SETS), "methods": method, "tasks": "rte"}, tmp_path))
    calm = Store(tmp_path / "calm")
    train(made, calm)
    run, store = the_run(made).id, Store(tmp_path / "results")
    fork = multiprocessing.get_context("fork")
    for point in (2, 14, 27):
        process = fork.Process(target=same_command, args=(tmp_path, method))
        process.start()
        wait_for(store, run, point, process.is_alive)
        process.kill()
        process.join()
        was_interrupted(store, run)
    process = fork.Process(target=same_command, args=(tmp_path, method))
    process.start()
    process.join(120)
    said = (tmp_path / "said.txt").read_text()
    assert process.exitcode == 0, said
    assert "going on at step" in said
    assert contents(store, run) == contents(calm, run)


@pytest.mark.slow
def test_a_killed_command_resumes(tmp_path: Path) -> None:
    """The same, from the shell."""
    made = make_plan(assemble_config({**parse_sets(SETS), "methods": "lgtm", "tasks": "rte"}, tmp_path))
    calm = Store(tmp_path / "calm")
    train(made, calm)
    run, store = the_run(made).id, Store(tmp_path / "results")
    process = start(tmp_path, *command("lgtm"))
    wait_for(store, run, 14, lambda: process.poll() is None)
    process.send_signal(signal.SIGKILL)
    process.wait()
    was_interrupted(store, run)
    process = start(tmp_path, *command("lgtm"))
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert "going on at step" in output
    assert contents(store, run) == contents(calm, run)


@pytest.mark.slow
def test_ctrl_c_leaves_everything_resumable(tmp_path: Path) -> None:
    """Exit code 130, a sentence, a checkpoint; the same command goes on and trains nothing twice."""
    args = ["run", "--methods", "finetune", "--tasks", "rte,mrpc", "--jobs", "1"]
    args += ["--set", "epochs=40", "--set", "train_rows=200"]
    process = start(tmp_path, *args)
    store = Store(tmp_path / "results", create=False)
    while not list((tmp_path / "results").glob("runs/*/series.jsonl")) and process.poll() is None:
        time.sleep(0.05)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "The same command goes on where it stopped" in output
    assert "Traceback" not in output
    (run,) = store.runs()
    assert run.state().status == "interrupted"
    assert run.checkpoint.exists()
