"""Small runs for the engine's tests."""

from __future__ import annotations

import functools
import importlib
import logging
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from multiprocessing.context import ForkProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import pytest

from kdbench.cli.app import app, main
from kdbench.core.errors import Stopped, UserError
from kdbench.core.records import warn_once
from kdbench.core.registry import Registry
from kdbench.core.settings import Execution, Recording
from kdbench.core.spec import RunSpec
from kdbench.planning.config import assemble_config, parse_sets
from kdbench.planning.make_plan import make_plan
from kdbench.planning.plan import Plan
from kdbench.results.store import Store
from kdbench.training.runner import execute

SMALL = [
    "epochs=2",
    "train_rows=96",
    "batch_size=16",
    "student=tiny-2x32",
    "teacher=tiny-3x32",
    "eval_every=6",
    "jobs=1",
]
CPU = Execution(device="cpu", threads=1)
FEW = Recording(probe_size=16, influence_samples=8, influence_points=4)
TRAINING_COMMANDS = ("run", "retry")
LATE_MODULES = (
    "kdbench.training.smoke_test", "transformers.models.bert.modeling_bert", "evaluate", "torch._inductor.config",
)  # fmt: skip
RESULT_FILES = ("model/model.safetensors", "series.jsonl", "result.json", "predictions.safetensors", "spec.json")


@contextmanager
def added_plugins(registry: Registry[Any], **plugins: type[Any]) -> Iterator[None]:
    """Add classes to a registry within the block; no file is read again there."""
    for name, plugin in plugins.items():
        plugin.name = name
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_found", {**registry.all(), **plugins})
        patch.setattr(registry, "_contents", None)
        yield


def plan(folder: Path, *sets: str, **given: Any) -> Plan:
    """A plan on tiny networks; `sets` as the command line's --set."""
    layer = {**parse_sets(["lgtm.zero_heads=true", *SMALL, *sets]), "tasks": "rte", **given}
    return make_plan(assemble_config(layer, folder))


TEACHERS = TemporaryDirectory(prefix="kdbench-teachers-")  # of this process's tests


def train(plan: Plan, store: Store, execution: Execution = CPU) -> None:
    """Train all runs of a plan; a fine-tuned teacher that another test has trained is copied."""
    asked = {cell.run for cell in plan.cells}
    for spec in plan.runs.values():
        # by the snapshots too, which are no part of the name but stand in the folder
        known, run = Path(TEACHERS.name, "-".join(map(str, (spec.id, *spec.snapshots)))), store.run(spec.id).path
        is_shared = execution == CPU and spec.method == "finetune" and spec.id not in asked and not run.exists()
        if is_shared and known.exists():
            shutil.copytree(known, run)
        execute(spec, store, execution, FEW)
        if is_shared and not known.exists():
            shutil.copytree(run, known)


def stop_and_resume(spec: RunSpec, store: Store, steps: int) -> None:
    """Train a run, stop it after some steps, and resume it."""
    calls = iter([False] * steps)
    with pytest.raises(Stopped):
        execute(spec, store, CPU, FEW, should_stop=lambda: next(calls, True))
    execute(spec, store, CPU, FEW)
    assert "going on at step" in store.run(spec.id).log.read_text()


def the_run(plan: Plan) -> RunSpec:
    """The run of the plan's only cell."""
    (cell,) = plan.cells
    return plan.runs[cell.run]


def contents(store: Store, run_id: str) -> Mapping[str, bytes]:
    """What has to be equal between two runs of one spec."""
    return {name: (store.run(run_id).path / name).read_bytes() for name in RESULT_FILES}


def refusal(*args: str) -> str:
    """The one sentence with which the command line refuses."""
    with pytest.raises((UserError, click.ClickException)) as caught:
        app(list(args), standalone_mode=False)
    error = caught.value
    return error.format_message() if isinstance(error, click.ClickException) else str(error)


@functools.cache
def import_late_modules() -> None:
    """Import what a training imports late; else every copy of this process would do so again, which takes seconds."""
    for name in LATE_MODULES:
        importlib.import_module(name)


def fork(folder: Path, said: Path, *args: str, errors: Path | None = None) -> ForkProcess:
    """Start a `kdbench` process as a copy of this one, which has imported everything already.

    Args:
        said: file for its output.
        errors: file for its standard error, if that is not `said`.
    """
    if args[0] in TRAINING_COMMANDS:
        import_late_modules()
    process = multiprocessing.get_context("fork").Process(target=_run_forked, args=(folder, said, errors, args))
    process.start()
    return process


def _run_forked(folder: Path, said: Path, errors: Path | None, args: tuple[str, ...]) -> None:
    os.chdir(folder)
    # as in a fresh process: warnings go to standard error, each once
    logging.getLogger().handlers.clear()
    warn_once.cache_clear()
    for name in ("COLUMNS", "FORCE_COLOR"):
        os.environ.pop(name, None)
    sys.argv = ["kdbench", *args]
    code: Any = 0
    with said.open("w", encoding="utf-8") as out, (errors or said).open("a", encoding="utf-8") as err:
        try:
            with redirect_stdout(out), redirect_stderr(err if errors else out):
                main()
        except SystemExit as end:
            code = end.code
    os._exit(code or 0)


def interrupt(process: ForkProcess, said: Path) -> None:
    """Send Ctrl-C to a forked `kdbench run`, and check how the process ends."""
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)
    process.join(60)
    output = said.read_text(encoding="utf-8")
    assert process.exitcode == 130, output
    assert "The same command goes on where it stopped" in output
    assert "Traceback" not in output
