"""Measure whole commands: time, processors, memory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

CODE = """
import sys
from pathlib import Path
from kdbench.cli.app import main

sys.argv[0], status = "kdbench", Path(sys.argv.pop(1))
try:
    main()
finally:
    status.write_text(Path("/proc/self/status").read_text())
"""


@dataclass(frozen=True)
class Took:
    """Hold the use of one process: seconds on the clock, seconds of processors, bytes of memory at its highest."""

    seconds: float
    cpu: float
    peak: int


def kdbench(*args: str, folder: Path) -> Took:
    """Measure `kdbench ARGS` in `folder`, from an empty process to its end.

    Raises:
        RuntimeError: it failed; its output is in the message.
    """
    with TemporaryDirectory() as made:
        said, status = Path(made) / "said", Path(made) / "status"
        with said.open("w") as file:
            start = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-c", CODE, str(status), *args],
                cwd=folder,
                env=environment(),
                stdout=file,
                stderr=file,
            )
            _, code, used = os.wait4(process.pid, 0)  # subprocess does not tell what a child used
            seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(code)
        if process.returncode:
            raise RuntimeError(f"kdbench {' '.join(args)} failed:\n{said.read_text()[-4000:]}")
        peak = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())  # that of wait4 has the parent's in it
        return Took(seconds, used.ru_utime + used.ru_stime, 1024 * int(peak[1]) if peak else 0)


def environment() -> dict[str, str]:
    """In which this checkout is found from any folder."""
    root = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))}
