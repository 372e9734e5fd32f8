"""What tests of data files share."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.data.task_registry import TASKS


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder whose tasks are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(TASKS, "_found", None)
    monkeypatch.setattr(TASKS, "broken", {})
    return tmp_path
