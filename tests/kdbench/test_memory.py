"""Out of memory, for real: the run goes on in smaller pieces and ends with the same result."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kdbench.core.errors import RunFailure
from kdbench.core.settings import Execution
from kdbench.results.store import Store
from kdbench.training.checkpoint import read
from kdbench.training.runner import _halve_micro_batch
from tests.kdbench.short_of_memory import hungry
from tests.kdbench.small_runs import plan, the_run, train


def short(folder: Path, megabytes: int) -> str:
    """What a process with so little memory says."""
    command = [sys.executable, "-m", "tests.kdbench.short_of_memory", str(folder), str(megabytes)]
    # freed memory goes back at once, so that the limit is about what is needed, not about how it is kept
    environment = {"MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=Path(__file__).parents[2])
    return done.stdout + done.stderr


@pytest.mark.slow
def test_a_run_that_is_short_of_memory_goes_on_in_pieces(tmp_path: Path) -> None:
    said = ""
    for megabytes in (140, 100, 70):
        said = short(tmp_path / str(megabytes), megabytes)
        if "out of memory" in said:
            break
    assert "it goes on with 128 rows in memory at once" in said, said
    assert said.endswith("trained\n"), said
    made = hungry(tmp_path)
    run, whole, pieces = the_run(made).id, Store(tmp_path / "whole"), Store(tmp_path / str(megabytes) / "short")
    train(made, whole)
    assert pieces.run(run).state().micro_batch in (16, 32, 64, 128)
    assert "out of memory; it goes on with 128 rows" in pieces.run(run).log.read_text()
    same, found = (read(store.run(run).predictions)[0] for store in (whole, pieces))
    for key, values in same.items():
        assert found[key].float().sub(values.float()).abs().max() < 1e-4


@pytest.mark.parametrize(("rows", "next_rows"), [(0, 8), (8, 4), (64, 8), (2, 1), (1, None)])
def test_the_remedy_halves_until_nothing_is_left(tmp_path: Path, rows: int, next_rows: int | None) -> None:
    spec = the_run(plan(tmp_path, methods="finetune"))
    found = _halve_micro_batch(spec, Execution(micro_batch=rows), RunFailure("out-of-memory", ""))
    assert (found.micro_batch if found else None) == next_rows
    assert _halve_micro_batch(spec, Execution(micro_batch=rows), RunFailure("bug", "")) is None
