"""Files are data, never code; nothing outside of the results folder is written."""

from __future__ import annotations

import ast
import json
import os
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import kdbench
from kdbench.cli.app import app
from kdbench.core.errors import UserError
from kdbench.models import build, reference
from tests.kdbench.small_runs import SMALL, plan, refusal

ROOT = Path(kdbench.__file__).parents[1]
SOURCES = [file for room in sorted((ROOT / "kdbench").iterdir()) for file in room.rglob("*.py")]
FORBIDDEN = {"eval", "exec", "os.system", "os.popen", "torch.load", "torch.save", "pickle.load", "pickle.loads",
             "yaml.load", "subprocess.getoutput", "marshal.loads", "joblib.load"}  # fmt: skip


def calls(source: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_that_is_read_is_executed_and_no_shell_is_asked(source: Path) -> None:
    for name, call in calls(source):
        assert name not in FORBIDDEN, f"{source}:{call.lineno}"
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        assert "shell" not in given, f"{source}:{call.lineno}"
        if name in ("np.load", "numpy.load"):
            assert ast.unparse(given["allow_pickle"]) == "False", f"{source}:{call.lineno}"
        if "trust_remote_code" in given:
            assert ast.unparse(given["trust_remote_code"]) == "False"


class Trap:
    """Code in the place of weights."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


def model_folder(folder: Path) -> Path:
    torch.manual_seed(0)
    build.build(reference.resolve("tiny-2x32"), ("no", "yes"), "eager", ("a", "b")).save_pretrained(folder)
    return folder


def test_weights_that_hold_code_are_refused_and_not_run(tmp_path: Path) -> None:
    folder, mark = model_folder(tmp_path / "model"), tmp_path / "owned"
    (folder / "model.safetensors").unlink()
    with (folder / "pytorch_model.bin").open("wb") as file:
        pickle.dump({"weight": Trap(mark)}, file)
    for labels in (("no", "yes"), None):
        with pytest.raises(UserError, match="cannot be loaded"):
            build.load(folder, attention="eager", labels=labels)
    assert not mark.exists()


def test_code_beside_a_model_is_not_run(tmp_path: Path) -> None:
    folder, mark = model_folder(tmp_path / "model"), tmp_path / "owned"
    (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w')\nclass Evil: ...\n")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForSequenceClassification": "evil.Evil", "AutoConfig": "evil.Evil"}
    (folder / "config.json").write_text(json.dumps(config))
    assert build.load(folder, attention="eager") is not None
    assert not mark.exists()


def test_names_cannot_lead_out_of_the_results_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("../../etc", "kd/../..", "kd;touch x"):
        assert re.search("Unknown method|There is no file", refusal("run", "--methods", name))
        assert "Unknown task" in refusal("run", "--methods", "kd", "--tasks", name)
    made = plan(tmp_path, methods="kd")
    assert all("/" not in run and not run.startswith(".") for run in made.runs)


def test_a_run_writes_into_its_results_folder_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, work = tmp_path / "home", tmp_path / "work; touch owned"
    home.mkdir()
    work.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(work)
    sets = [part for pair in [*SMALL, "device=cpu"] for part in ("--set", pair)]
    assert app(["run", "--methods", "kd", "--tasks", "rte", *sets], standalone_mode=False) == 0
    assert [path.name for path in work.iterdir()] == ["results"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", work.name]
    assert [path for path in home.rglob("*") if path.is_file()] == []
