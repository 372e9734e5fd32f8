"""Fixtures for the tests of the engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kdbench.planning import run_scale


@pytest.fixture
def two_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without a GPU, and nothing remembered of another test's tasks."""
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr("kdbench.planning.cost_estimate.GPU", tmp_path / "none")
    run_scale.data_facts.cache_clear()
    yield
    run_scale.data_facts.cache_clear()
