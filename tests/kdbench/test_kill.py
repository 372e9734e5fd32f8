"""SIGKILL at any moment, then the same command: the bytes of an undisturbed run."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from kdbench.config import assemble, parse_sets
from kdbench.plan import make
from kdbench.plugins import METHODS
from kdbench.store import Store
from kdbench.training import checkpoint
from tests.kdbench.bench import FEW, SMALL, contents, start, the_run, train

SETS = [*SMALL, "epochs=8", *(f"{key}={value}" for key, value in FEW.model_dump().items())]


def command(method: str) -> list[str]:
    sets = [part for pair in [*SETS, "checkpoint_seconds=0.03", "threads=1"] for part in ("--set", pair)]
    return ["run", "--methods", method, "--tasks", "rte", "--device", "cpu", *sets]


def finished_steps(store: Store, run: str) -> int:
    try:
        return int(checkpoint.read(store.run(run).checkpoint)[1]["step"])
    except Exception:
        return 0


@pytest.mark.parametrize("method", sorted(METHODS.all()))
def test_killed_and_resumed_equals_undisturbed(method: str, tmp_path: Path) -> None:
    made = make(assemble({**parse_sets(SETS), "methods": method, "tasks": "rte"}, tmp_path))
    calm = Store(tmp_path / "calm")
    train(made, calm)
    run, store = the_run(made).id, Store(tmp_path / "results")
    for point in (2, 14, 27):
        process = start(tmp_path, *command(method))
        while finished_steps(store, run) < point and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not store.run(run).is_done(), "the process was too quick to be killed"
        assert store.run(run).state().status == "interrupted"
    process = start(tmp_path, *command(method))
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert "going on at step" in output
    assert contents(store, run) == contents(calm, run)


def test_ctrl_c_leaves_everything_resumable(tmp_path: Path) -> None:
    """Exit code 130, a sentence, a checkpoint; the same command goes on and trains nothing twice."""
    args = ["run", "--methods", "finetune", "--tasks", "rte,mrpc", "--set", "epochs=40", "--set", "train_rows=200"]
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
