"""How long `kdbench --help` takes, and what it imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.harness.clock import environment, kdbench

IMPORTS = """
import sys
from kdbench.cli import app
app(["--help"], standalone_mode=False)
print(" ".join(sorted({"torch", "transformers", "pandas", "matplotlib"} & set(sys.modules))), file=sys.stderr)
"""


def measure(folder: Path) -> float:
    return kdbench("--help", folder=folder)


def imported() -> list[str]:
    """The heavy libraries that `kdbench --help` has imported."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS], env=environment(), text=True, capture_output=True, check=True
    )
    return done.stderr.split()
