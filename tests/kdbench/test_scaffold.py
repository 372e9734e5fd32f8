"""A method from nothing: the file that `new-method` writes, the one in the README, and the page about all of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kdbench.cli.app import app
from kdbench.distill.method_registry import METHODS
from kdbench.reporting import method_docs
from kdbench.training.conformance import suite
from tests.kdbench.small_runs import SMALL, refusal

ROOT = Path(__file__).parent.parent.parent

pytestmark = pytest.mark.usefixtures("same_methods_afterwards")


@pytest.mark.slow
def test_the_new_file_passes_its_checks_and_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not app(["new-method", "my_idea", "--folder", "."], standalone_mode=False)
    assert "check it: kdbench check-method my_idea.py" in capsys.readouterr().out
    name = METHODS.add_file(tmp_path / "my_idea.py")
    assert METHODS.get(name).title == "My Idea"
    found = list(suite.examine(tmp_path / "runs", name, file=tmp_path / "my_idea.py"))
    assert [f"{f.check.name}: {f.text}" for f in found if f.verdict == "failed"] == []
    sets = [part for pair in SMALL for part in ("--set", pair)]
    assert app(["run", "--methods", "my_idea", "--tasks", "rte", *sets], standalone_mode=False) == 0
    assert re.search(r"^My Idea +\d", capsys.readouterr().out, re.MULTILINE)


def test_in_the_methods_folder_it_is_found_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not app(["new-method", "my_idea"], standalone_mode=False)
    assert "kdbench run --methods my_idea,kd" in capsys.readouterr().out
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["my_idea.py"]
    monkeypatch.setattr(METHODS, "_found", None)
    assert METHODS.get("my_idea").title == "My Idea"
    assert METHODS.files["my_idea"].path == str(tmp_path / "methods" / "my_idea.py")


def test_bad_names(tmp_path: Path) -> None:
    for name in ("My-Method", "2kd", "class", "a b", "../kd", "", "_", "_2x", "a__b", "all"):
        assert "cannot name a method" in refusal("new-method", name, "--folder", str(tmp_path))
    for name in ("kd", "lgtm_printed"):
        assert "There is a method" in refusal("new-method", name, "--folder", str(tmp_path))
    for name in ("paper", "logits"):
        assert "is the name of a group of methods" in refusal("new-method", name, "--folder", str(tmp_path))
    assert "There is no folder" in refusal("new-method", "mine", "--folder", str(tmp_path / "no"))
    (tmp_path / "mine.py").write_text("")
    assert "exists; choose another name" in refusal("new-method", "mine", "--folder", str(tmp_path))
    assert list(tmp_path.iterdir()) == [tmp_path / "mine.py"]


@pytest.mark.slow
def test_the_readmes_method_works_and_is_short(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(code.splitlines()) < 30
    (tmp_path / "mse.py").write_text(code)
    name = METHODS.add_file(tmp_path / "mse.py")
    found = list(suite.examine(tmp_path / "runs", name, only=[n for n in suite.names() if n != "resume"]))
    assert [f"{f.check.name}: {f.text}" for f in found if f.verdict == "failed"] == []


def test_the_page_about_the_methods_is_up_to_date() -> None:
    """Made by `make docs`."""
    assert (ROOT / "docs" / "methods.md").read_text() == method_docs.methods_page()


@pytest.mark.parametrize("name", sorted(METHODS.all()))
def test_every_method_says_what_the_page_needs(name: str) -> None:
    words = method_docs._words(METHODS.get(name))
    assert method_docs.SECTION.findall(words)[:3] == ["Loss", "Trained", "Paper and code"]
    method = METHODS.get(name)
    for key, field in method.options_type.model_fields.items():
        assert field.description, key
        assert field.json_schema_extra["source"] or key in OURS, f"{name}.{key} names no source"


OURS = {
    "precondition",
    "influence_teacher",
    "influence_center",
    "influence_bound",
}  # ways of computing, in no paper and no code
