"""Files are whole or absent, and nothing of the user's goes to make room for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from kdbench.core.atomic_files import replacing, write_text
from kdbench.core.errors import UserError
from tests.kdbench.small_runs import refusal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Somebody's folder with something in it."""
    (tmp_path / "mine" / "deep").mkdir(parents=True)
    (tmp_path / "mine" / "deep" / "work").write_text("kept")
    return tmp_path / "mine"


def untouched(folder: Path) -> bool:
    return (folder / "deep" / "work").read_text() == "kept" and [p.name for p in folder.parent.iterdir()] == ["mine"]


def test_a_file_never_takes_the_place_of_a_folder(folder: Path) -> None:
    with pytest.raises(UserError, match="mine is a folder; give the name of a file"):
        write_text(folder, "text")
    assert untouched(folder)


def test_an_error_names_the_file_and_not_its_temporary_name(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250)  # the temporary name is longer than a name may be
    with pytest.raises(OSError, match="name too long") as caught:
        write_text(path, "text")
    assert caught.value.filename == str(path)


def test_a_folder_does(folder: Path) -> None:
    with replacing(folder) as temporary:
        temporary.mkdir()
        (temporary / "new").write_text("new")
    assert [path.name for path in folder.iterdir()] == ["new"]


@pytest.mark.parametrize("command", [("audit",), ("table", "5"), ("table", "5", "--format", "csv")])
def test_no_command_writes_over_a_folder(command: Sequence[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert "mine is a folder" in refusal(*command, "--out", "mine")
    assert untouched(folder)
