"""Remove the working folder from the module search path, so that a user's `tasks.py` or `json.py` is not imported.

This module imports only what is loaded when Python starts; other imports would search the working folder.
"""

from __future__ import annotations

import os
import sys

ROOT = os.path.realpath(f"{os.path.dirname(__file__)}/../..")  # noqa: PTH120  # pathlib is not loaded yet


def leave_working_folder() -> None:
    """Remove the first entry of `sys.path`, set by `python -m`, unless kdbench is imported from there (a checkout)."""
    if not sys.flags.safe_path and sys.path and _is_working_folder(sys.path[0]) and not _is_root(sys.path[0]):
        del sys.path[0]
    leave_empty_entries()


def leave_empty_entries() -> None:
    """Remove the working folder from `sys.path` if an empty entry of PYTHONPATH, as in `:/my/lib`, added it."""
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    explicit = any(map(_is_working_folder, filter(None, entries)))
    if len(entries) > 1 and "" in entries and not explicit:
        sys.path[:] = [entry for entry in sys.path if _is_root(entry) or not _is_working_folder(entry)]


def child_environment() -> dict[str, str]:
    """Return the environment for a Python process that imports this kdbench and no module of its working folder."""
    entries = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    if sys.path and _is_root(sys.path[0]) and ROOT not in entries:  # a checkout that is not installed
        entries.insert(0, ROOT)
    path = {"PYTHONPATH": os.pathsep.join(entries)} if entries else {}
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**kept, **path, "PYTHONSAFEPATH": "1"}


class Children:
    """Start processes with `child_environment()` within the block, for functions without an argument for it."""

    def __enter__(self) -> None:
        self._before = dict(os.environ)
        os.environ.update(child_environment())
        if "PYTHONPATH" in self._before and "PYTHONPATH" not in child_environment():
            del os.environ["PYTHONPATH"]

    def __exit__(self, *_: object) -> None:
        for name in ("PYTHONPATH", "PYTHONSAFEPATH"):
            os.environ.pop(name, None)
            if name in self._before:
                os.environ[name] = self._before[name]


def _is_root(entry: str) -> bool:
    return os.path.realpath(entry) == ROOT


def _is_working_folder(entry: str) -> bool:
    return os.path.realpath(entry) == os.path.realpath("")
