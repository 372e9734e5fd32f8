"""Train a run and kill the own process in the middle, for the check `resume`; run it with `python -m`."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from pathlib import Path

from kdbench.distill.method import METHODS
from kdbench.training.conformance.full_run_checks import KILL_AT, killed_store
from kdbench.training.conformance.small_run import CPU, RECORDING
from kdbench.training.conformance.subject import Subject
from kdbench.training.runner import execute


def main(folder: Path, name: str, file: str, sets: str) -> None:
    """Train the small run of a method until step KILL_AT, with a checkpoint at every step."""
    if file:
        METHODS.add_file(Path(file))
    small_run, store = Subject(folder, name, json.loads(sets)).small_run(), killed_store(folder)
    steps = itertools.count(1)

    def die() -> bool:
        if next(steps) == KILL_AT:
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    small_run.train_needs(store)
    settings = CPU.model_copy(update={"checkpoint_seconds": 0.0})
    execute(small_run.spec, store, settings, RECORDING, should_stop=die)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
