"""Train a run in a process that kills itself in the middle, for the check `resume`."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from kdbench.core.safe_path import Children
from kdbench.distill.method_registry import METHODS
from kdbench.results.store import Store
from kdbench.training.conformance.small_run import CPU, RECORDING
from kdbench.training.conformance.subject import Subject
from kdbench.training.executors import process_pool
from kdbench.training.runner import execute

KILL_AT = 6  # steps; the run has about twenty
OUTPUT = "killed.txt"  # what the process prints


def start_crashing_process(subject: Subject) -> BaseProcess:
    """Start a process that trains the run up to step KILL_AT and then kills itself."""
    subject.folder.mkdir(parents=True, exist_ok=True)  # the first thing that the process writes to
    context: Any = multiprocessing.get_context(process_pool.START_METHOD)
    arguments = (subject.folder, subject.name, subject.file, subject.sets)
    process: BaseProcess = context.Process(target=_train_and_die, args=arguments, daemon=True)
    with Children():
        process.start()
    return process


def killed_store(folder: Path) -> Store:
    return Store(folder / "killed")


def _train_and_die(folder: Path, name: str, file: Path | None, sets: Mapping[str, Any]) -> None:
    """Train the small run of a method until step KILL_AT, with a checkpoint at every step."""
    output = (folder / OUTPUT).open("w", encoding="utf-8", buffering=1)
    sys.stdout = sys.stderr = output
    for number in (1, 2):  # warnings of torch's own code
        os.dup2(output.fileno(), number)
    if file:
        METHODS.add_file(file)
    small_run, store = Subject(folder, name, sets).small_run(), killed_store(folder)
    steps = itertools.count(1)

    def die() -> bool:
        if next(steps) == KILL_AT:
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    small_run.train_needs(store)
    settings = CPU.model_copy(update={"checkpoint_seconds": 0.0})
    execute(small_run.spec, store, settings, RECORDING, should_stop=die)
