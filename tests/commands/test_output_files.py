"""The files that --out names: their form is that of the ending, or of --format."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.test_commands import call_here
from tests.kdbench.small_runs import refusal


@pytest.mark.parametrize(
    ("name", "start"), [("t.tex", "% Table 5"), ("t.md", "**Table 5"), ("t.csv", "row,"), ("t", "Table 5")]
)
def test_a_table_has_the_format_of_its_file(
    name: str, start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call_here(["table", "5", "--out", str(tmp_path / name)], monkeypatch) == 0
    assert (tmp_path / name).read_text(encoding="utf-8").startswith(start)


def test_an_ending_that_is_no_format(tmp_path: Path) -> None:
    assert ".pdf is no format; end in .txt, .md, .tex, .csv" in refusal("table", "5", "--out", str(tmp_path / "t.pdf"))
    assert not (tmp_path / "t.pdf").exists()


@pytest.mark.parametrize("command", [("table", "5"), ("audit",), ("probe", "kd"), ("figure", "4")])
def test_a_format_that_is_not_that_of_the_file(command: tuple[str, ...], tmp_path: Path) -> None:
    ending = "svg" if command[0] == "figure" else "tex"
    path = tmp_path / f"t.{ending}"
    sentence = f"--out {path} ends in .{ending} and --format is csv; leave one of them out."
    assert sentence in refusal(*command, "--format", "csv", "--out", str(path))
    assert not path.exists()


def test_a_format_that_agrees_with_the_file_or_its_own_ending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("t.csv", "t.dat", "t"):
        assert call_here(["table", "5", "--format", "csv", "--out", str(tmp_path / name)], monkeypatch) == 0
        assert (tmp_path / name).read_text(encoding="utf-8").startswith("row,")
