"""From a folder with modules of one's own: none of them is taken for ours, or run at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kdbench.core.safe_path import ROOT
from kdbench.planning.config import assemble_config, parse_sets
from kdbench.planning.make_plan import make_plan
from kdbench.results.store import Store
from tests.kdbench.small_runs import FEW, SMALL, contents, train

NAMES = ("tasks.py", "methods/__init__.py", "methods/kd.py", "analysis/__init__.py", "slurm.py", "json.py", "click.py",
         "submitit.py", "torch.py", "pickle.py", "numpy/__init__.py", "multiprocessing/__init__.py")  # fmt: skip
SETS = [*SMALL, "epochs=1", *(f"{key}={value}" for key, value in FEW.model_dump().items())]


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder whose every module leaves a mark when it is run."""
    for name in NAMES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"open({str(tmp_path / 'executed')!r}, 'a').write({name!r})\nraise RuntimeError\n")
    return tmp_path


def kdbench(folder: Path, *args: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "kdbench", *args], cwd=folder, text=True, capture_output=True, env={**os.environ, **env}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (folder / "executed").exists(), (folder / "executed").read_text()
    return done.stdout


@pytest.mark.slow
def test_a_sweep_in_worker_processes(hostile: Path) -> None:
    """Started as for users, by `spawn`; they leave the bytes of one run after the other."""
    sets = [part for pair in [*SETS, "threads=1", "jobs=2"] for part in ("--set", pair)]
    asked = {"methods": "finetune", "tasks": "rte", "seeds": "0,1"}
    flags = [part for name, value in asked.items() for part in (f"--{name}", value)]
    assert "2 trained" in kdbench(hostile, "run", *flags, "--device", "cpu", *sets)
    made = make_plan(assemble_config({**parse_sets(SETS), **asked}, hostile))
    calm, store = Store(hostile / "calm"), Store(hostile / "results", create=False)
    train(made, calm)
    for run in made.runs:
        assert contents(store, run) == contents(calm, run)


@pytest.mark.slow
def test_the_process_that_a_check_kills(hostile: Path) -> None:
    assert "ok      resume" in kdbench(hostile, "check-method", "kd", "--only", "resume")


@pytest.mark.parametrize("entries", [f":{ROOT}", f"{ROOT}:", f"{ROOT}::/nowhere"])
def test_an_empty_entry_of_pythonpath_is_not_the_working_folder(tmp_path: Path, entries: str) -> None:
    """It is left behind by `export PYTHONPATH=$PYTHONPATH:/my/lib`."""
    for name in ("tasks.py", "methods.py", "analysis.py", "slurm.py"):
        (tmp_path / name).write_text(f"open({str(tmp_path / 'executed')!r}, 'a').write({name!r})\n")
    assert "RTE" in kdbench(tmp_path, "list", "tasks", PYTHONPATH=entries)


def test_a_checkout_needs_no_path_but_the_working_folder() -> None:
    """`python -m kdbench` there, and the Python processes that it starts, import the checkout."""
    script = (
        "import sys, subprocess\nsys.argv = ['kdbench', '--version']\n"
        "try:\n    import kdbench.__main__\nexcept SystemExit:\n    pass\n"
        "import kdbench.core.safe_path as s\n"
        "print(subprocess.run([sys.executable, '-c', 'import kdbench; print(kdbench.__file__)'], cwd='/', text=True,"
        " env=s.child_environment(), capture_output=True).stdout)"
    )
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=env, text=True, capture_output=True)
    assert done.stdout.split()[-1] == f"{ROOT}/kdbench/__init__.py", done.stderr
