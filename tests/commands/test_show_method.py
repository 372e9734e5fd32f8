"""`kdbench show METHOD`: what a method is and takes."""

from __future__ import annotations

import pytest

from kdbench import Distillation
from kdbench.distill.method_registry import METHODS
from tests.commands.test_commands import call_here
from tests.kdbench.small_runs import added_plugins


def test_show_a_method_of_no_publication(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Own(Distillation):
        """Learn nothing."""

        title = "Own"

    with added_plugins(METHODS, own=Own):
        assert call_here(["show", "own"], monkeypatch) == 0
    assert capsys.readouterr().out.startswith("Own  version 1\n")
