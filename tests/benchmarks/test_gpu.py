"""The script for a GPU runs on a CPU with tiny sizes, stage by stage."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks import side_by_side
from benchmarks.gpu import tables
from benchmarks.gpu.__main__ import STAGES, _only_gpu, command
from benchmarks.gpu.inputs import SMALL, Measurement
from benchmarks.made_rows import write_trec
from benchmarks.operations import forward_operations, operations
from benchmarks.work import BATCH, tokens
from kdbench.core.atomic_files import write_json

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Figures of the stages that can be measured in this process."""
    folder = tmp_path_factory.mktemp("gpu")
    for stage in ("machine", "kd", "graphs"):
        args = ["--stage", stage, "--device", "cpu", "--small", "--seconds", "300", "--out", str(folder)]
        result = CliRunner().invoke(command, args, catch_exceptions=False)
        assert result.exit_code == 0
    return folder


def figures(out: Path, stage: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((out / f"{stage}.json").read_text())
    return found


def test_rates_are_operations_of_the_passes_by_seconds(out: Path) -> None:
    """KD looks its teacher up: a pass of the student is all that is counted, and the pass back counts twice."""
    found = next(f for f in figures(out, "kd") if f["title"] == "kdbench, fp32, eager")
    rows = SMALL.steps * BATCH
    assert found["passes"] == {"student": {"forward": rows, "backward": rows}}
    lengths = tokens(Measurement(out, "cpu", small=True, threads=1).work).lengths
    one = [forward_operations(SMALL.student, SMALL.hidden, SMALL.wide, length) for length in lengths]
    assert found["operations"] == pytest.approx(3 * rows * sum(one) / len(one))
    assert found["tflops"] == pytest.approx(found["operations"] / found["seconds"] / 1e12)
    assert found["once"] > 0


def test_tables_have_what_is_there_and_why_the_rest_is_missing(out: Path) -> None:
    write_json(out / "lgtm.problem.json", {"stage": "lgtm", "problem": "its time was over"})
    text = tables.write(out).read_text()
    assert "|kdbench, fp32, eager|" in text
    assert "a CUDA graph for each length: not measured. CUDA graphs need a GPU." in text
    assert "The stage did not finish: its time was over." in text
    assert "these figures say nothing of a GPU" in text
    assert "Hours" not in text


def test_operations_of_a_layer_by_hand() -> None:
    """Two layers of width 4 on 3 tokens: 4·4² + 2·4·8 weights each, 2·4·3 products of attention a token."""
    assert forward_operations(2, 4, 8, 3, first_token=False) == 2 * (2 * 3 * (64 + 64 + 24))
    assert operations({"s": {"forward": 2, "backward": 2, "tangent": 1}}, {"s": 10.0}) == 10 * (2 + 4 + 3)


def test_a_stage_sees_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert _only_gpu("cpu") == ("cpu", {})
    assert _only_gpu("cuda:1") == ("cuda:0", {"CUDA_VISIBLE_DEVICES": "1"})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert _only_gpu("cuda:1") == ("cuda:0", {"CUDA_VISIBLE_DEVICES": "7"})


def test_hours_follow_from_rates_and_the_documented_operations(tmp_path: Path) -> None:
    work = tables.study_operations()
    assert sum(total for name, total in work.items() if name != "all") == pytest.approx(work["all"], rel=0.01)
    steps = {"seconds": 1.0, "steps": 1, "once": 0.0, "rows_per_second": 1.0, "peak": 0, "title": "kdbench, bf16"}
    stored = {
        "kd": [{**steps, "tflops": 20.0}], "lgtm": [{**steps, "tflops": 10.0}],
        "side_by_side": [
            {"jobs": jobs, "threads": 1, "round": 0, "rows_per_second": rate, "rows_per_cpu_second": 1.0}
            for jobs, rate in ((1, 100.0), (4, 250.0), (8, 200.0))
        ],
    }  # fmt: skip
    slow = work["LGTM"] + work["Meta Distill"]
    hours = (slow / 10e12 + (sum(work.values()) - work["all"] - slow) / 20e12) / 3600
    assert f"|kdbench, bf16|{hours:.0f}|{hours / 2.5:.0f}|" in tables._hours(stored)


def test_made_questions_have_the_lengths_of_trec(tmp_path: Path) -> None:
    write_trec(tmp_path, [f"w{i}" for i in range(50)], rows=3000)
    lines = (tmp_path / "trec" / "TREC.train").read_text().splitlines()
    lengths = [len(line.partition(" ")[2].split()) + 2 for line in lines]  # and two special tokens
    assert sum(lengths) / len(lengths) == pytest.approx(13.5, abs=0.7)
    assert (min(lengths), max(lengths)) == (5, 41)


def test_shares_of_cores() -> None:
    assert side_by_side.shares(1) == [(1, 1)]
    assert side_by_side.shares(2) == [(1, 1), (1, 2), (2, 1)]
    assert side_by_side.shares(4) == [(1, 1), (1, 4), (2, 2), (4, 1)]


@pytest.mark.slow
def test_the_script_runs_every_stage(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(ROOT / "benchmarks" / "gpu.sh"), "--device", "cpu", "--small", "--seconds", "900"],
        env={**os.environ, "OUT": str(tmp_path), "PYTHON": str(ROOT / ".venv/bin/python")}, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert [stage for stage in STAGES if not (tmp_path / f"{stage}.json").exists()] == []
    assert not list(tmp_path.glob("*.problem.json"))
    assert [f for f in figures(tmp_path, "correctness") if f["passed"] is not True] == []
    assert figures(tmp_path, "study")[-1]["finished"] == 3
