"""Rounds: in each, every contestant once, in an order of its own, each in a process of its own."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.suites import Contestant, Suite
from benchmarks.work import Work
from kdbench.core.atomic_files import read_json

Measured = dict[str, Any]  # contestant, round, and what `benchmarks.one` writes


def play(suite: Suite, work: Work, rounds: int) -> Iterator[Measured]:
    """Measure, one after the other; a round's number is the seed of its rows, which all contestants share."""
    for number in range(rounds):
        order = random.Random(number).sample(suite.contestants, len(suite.contestants))
        for contestant in order:
            found = alone(contestant, replace(work, seed=number))
            yield {"contestant": contestant.name, "round": number, **found}


def alone(contestant: Contestant, work: Work) -> dict[str, Any]:
    """One measurement, in a process that ends with it.

    Raises:
        RuntimeError: the process failed; its output is in the message.
    """
    with TemporaryDirectory() as folder:
        file = Path(folder) / "measured.json"
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.one", contestant.name, str(file)],
            input=json.dumps(work.as_json()), env=_environment(work), text=True, capture_output=True,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{contestant.name} failed:\n{done.stdout}{done.stderr}")
        found: dict[str, Any] = read_json(file)
        return found


def _environment(work: Work) -> dict[str, str]:
    return {
        **os.environ, "OMP_NUM_THREADS": str(work.threads), "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
