"""Jobs submitted from a folder with modules of one's own, and of a method in a file of one's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kdbench.distill.method_registry import METHODS
from tests.kdbench.test_method_files import SOURCE
from tests.kdbench.test_safe_path import NAMES
from tests.slurm.cluster import Cluster
from tests.slurm.test_sweeps import Sweep

pytestmark = pytest.mark.slurm


def test_a_job_imports_nothing_from_where_it_was_submitted(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("_found", None), ("files", {}), ("broken", {})):
        monkeypatch.setattr(METHODS, name, value)
    for name in NAMES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"open({str(tmp_path / 'executed')!r}, 'a').write({name!r})\nraise RuntimeError\n")
    (tmp_path / "mine").mkdir()
    file = tmp_path / "mine" / "half.py"
    file.write_text(SOURCE)
    sweep = Sweep(
        tmp_path, "slurm.side_by_side=2", "slurm.memory=1900M", methods=f"{file},kd", tasks="rte", runs_per_job="2"
    )
    for words, said in ((sweep.args, "Submitted"), (["table", "1"], "Half")):
        command = [sys.executable, "-m", "kdbench", *words]  # which would import what lies in the folder
        done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, check=True)
        assert said in done.stdout
        sweep.ends()
    assert not (tmp_path / "executed").exists()
    sweep.is_as_undisturbed()
