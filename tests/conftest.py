"""One thread a test process, no network, and worker processes that start at once, for every test; the GLUE files."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may open a connection, in whatever way."""
    real = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX:
            raise AssertionError(f"a test reached for the network: {address}")
        real(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True, scope="session")
def workers_start_at_once() -> Iterator[None]:
    """Start a pool's workers as copies of the test process, which has imported torch already; that takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kdbench.training.executors.process_pool.START_METHOD", "fork")
        yield


@pytest.fixture(scope="session")
def glue_dir() -> Path:
    """The real GLUE files in the classic layout; tests that need them are skipped where there are none."""
    named = os.environ.get("KDBENCH_GLUE_DIR")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "glue"
    if not folder.is_dir():
        pytest.skip(f"no GLUE files in {folder}; set KDBENCH_GLUE_DIR")
    return folder


def one_fast(names: Iterable[str], *fast: str) -> list[Any]:
    """Return the names, sorted, as parameters of a test that is slow for all but one or a few of them."""
    return [pytest.param(name, marks=() if name in fast else pytest.mark.slow) for name in sorted(names)]


@pytest.fixture
def same_methods_afterwards() -> Iterator[None]:
    """Forget the methods that a test has added."""
    from kdbench.distill.method_registry import METHODS

    found, bad, files = dict(METHODS.all()), dict(METHODS.broken), dict(METHODS.files)
    yield
    METHODS._found, METHODS.broken, METHODS.files = found, bad, files
