"""Seconds of whole commands."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path


def kdbench(*args: str, folder: Path) -> float:
    """Seconds that `kdbench ARGS` takes in `folder`, from an empty process to its end.

    Raises:
        RuntimeError: it failed; its output is in the message.
    """
    code = "import sys; from kdbench.cli import main; sys.argv[0] = 'kdbench'; main()"
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *args], cwd=folder, env=environment(), text=True, capture_output=True
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"kdbench {' '.join(args)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return seconds


def environment() -> dict[str, str]:
    """In which this checkout is found from any folder."""
    root = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))}
