"""What tests of commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands.test_commands import call_here

Call = Callable[..., str]


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """What a command prints, and to stderr where it fails."""

    def run(folder: Path, *arguments: str, code: int = 0) -> str:
        monkeypatch.chdir(folder)
        assert call_here(list(arguments), monkeypatch) == code
        out, err = capsys.readouterr()
        return err if code else out

    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}
