"""Methods whose files import modules beside them: these belong to the method's code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kdbench.core.errors import UserError
from kdbench.distill.method_files import method_of
from kdbench.distill.method_registry import METHODS
from tests.kdbench.small_runs import plan, the_run
from tests.kdbench.test_method_files import SOURCE, TINY, forget, fresh_methods, run, said_so_far, write

__all__ = ["fresh_methods"]  # a fixture that every test here uses

HELPED = SOURCE.replace("from kdbench.distill.losses import cross_entropy", "from own_losses import scaled").replace(
    "cross_entropy(batch.labels, self.student.logits(batch)) * 0.5", "scaled(batch.labels, self.student.logits(batch))"
)
HELPER = """from kdbench.distill.losses import cross_entropy


def scaled(labels, logits):
    return cross_entropy(labels, logits) * 0.5
"""
BESIDE = "import sys\n\nsys.path.insert(0, __file__.rpartition('/')[0])\n"


def helped(folder: Path, helper: str = HELPER) -> Path:
    """A method that uses a module beside its file, as another process finds it."""
    sys.modules.pop("own_losses", None)
    write(folder / "own_losses.py", helper)
    return write(folder / "half.py", BESIDE + HELPED)


@pytest.fixture
def same_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(METHODS, "_imported", set())
    yield
    sys.modules.pop("own_losses", None)


@pytest.mark.usefixtures("same_path")
def test_a_module_that_the_file_imports_belongs_to_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else a run whose loss was changed there would be "done" with the old numbers."""
    command = ["run", "--methods", "half", "--tasks", "rte", *TINY]
    helped(tmp_path / "methods")
    run(*command)
    old = the_run(plan(tmp_path, methods="half"))
    assert old.method_file is not None
    assert old.method_file.find_change() == ""
    forget(monkeypatch)
    helped(tmp_path / "methods", "# a remark\n" + HELPER)
    assert the_run(plan(tmp_path, methods="half")).id == old.id
    forget(monkeypatch)
    file = helped(tmp_path / "methods", HELPER.replace("0.5", "0.25"))
    assert the_run(plan(tmp_path, methods="half")).id != old.id
    with pytest.raises(UserError, match="or a module that it imports, is not the one that the run was planned with"):
        method_of(old)
    capsys.readouterr()
    run("table", "1")
    assert f"{file} or a module that it imports has changed since these runs were trained" in said_so_far(capsys)
    run(*command)
    said = said_so_far(capsys)
    assert f"{file} or a module that it imports has changed since method 'half' was trained here; 1 earlier" in said
    assert "1 trained" in said


@pytest.mark.usefixtures("same_path")
def test_a_notebook_does_not_go_on_with_the_old_module(tmp_path: Path) -> None:
    """Python reads a module once, so that a changed one would be trained as it was, under the new name."""
    helped(tmp_path / "methods")
    plan(tmp_path, methods="half")
    write(tmp_path / "methods" / "own_losses.py", HELPER.replace("0.5", "0.25"))
    with pytest.raises(UserError, match=r"own_losses\.py has changed since it was read; restart Python"):
        plan(tmp_path, methods="half")
