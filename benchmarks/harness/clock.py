"""Measure whole commands: time, processors, memory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from types import MappingProxyType

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
        status = Path(made) / "status"
        took = python("-c", CODE, str(status), *args, folder=folder, name=f"kdbench {' '.join(args)}")
        peak = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())  # that of wait4 has the parent's in it
        return Took(took.seconds, took.cpu, 1024 * int(peak[1]) if peak else 0)


def python(*args: str, folder: Path, name: str, variables: Mapping[str, str] = MappingProxyType({})) -> Took:
    """Measure `python ARGS` in `folder`, with the processes that it starts; its memory is not measured.

    Args:
        name: in messages.
        variables: of the environment, beside this process's own.

    Raises:
        RuntimeError: it failed; its output is in the message.
    """
    with TemporaryFile("w+") as said:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *args], cwd=folder, env={**environment(), **variables}, stdout=said, stderr=said
        )
        _, code, used = os.wait4(process.pid, 0)  # subprocess does not tell what a child used
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(code)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"{name} failed:\n{said.read()[-4000:]}")
    return Took(seconds, used.ru_utime + used.ru_stime, 0)


def environment() -> dict[str, str]:
    """In which this checkout is found from any folder."""
    root = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))}
