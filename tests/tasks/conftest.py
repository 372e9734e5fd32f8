"""What the tests of the tasks share."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def glue_dir() -> Path:
    """The real GLUE files in the classic layout; tests that need them are skipped where there are none."""
    named = os.environ.get("KDBENCH_GLUE_DIR")
    folder = Path(named) if named else PROJECT.parent / "shared" / "glue"
    if not folder.is_dir():
        pytest.skip(f"no GLUE files in {folder}; set KDBENCH_GLUE_DIR")
    return folder


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any attempt to open a connection fails the test."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
