"""Keep the working folder out of the module search path: its `tasks.py` or `json.py` is the user's, not ours.

Imports nothing that is not loaded when Python starts, because that would be looked for in the working folder.
"""

from __future__ import annotations

import os
import sys

ROOT = os.path.realpath(f"{os.path.dirname(__file__)}/../..")  # noqa: PTH120  # pathlib is not loaded yet


def leave_working_folder() -> None:
    """Remove what `python -m` put first on `sys.path`, unless kdbench itself is imported from there (a checkout)."""
    if not sys.flags.safe_path and sys.path and _is_working_folder(sys.path[0]) and not _is_root(sys.path[0]):
        del sys.path[0]
    leave_empty_entries()


def leave_empty_entries() -> None:
    """Remove the working folder where an empty entry of PYTHONPATH, such as `:/my/lib` has, put it on `sys.path`."""
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    explicit = any(map(_is_working_folder, filter(None, entries)))
    if len(entries) > 1 and "" in entries and not explicit:
        sys.path[:] = [entry for entry in sys.path if _is_root(entry) or not _is_working_folder(entry)]


def environment() -> dict[str, str]:
    """Return the environment for a Python process that imports this kdbench and nothing of its working folder."""
    entries = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    if sys.path and _is_root(sys.path[0]) and ROOT not in entries:  # a checkout that is not installed
        entries.insert(0, ROOT)
    path = {"PYTHONPATH": os.pathsep.join(entries)} if entries else {}
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**kept, **path, "PYTHONSAFEPATH": "1"}


class Children:
    """Within the block, processes that are started have `environment()`, also where no environment can be given."""

    def __enter__(self) -> None:
        self._before = dict(os.environ)
        os.environ.update(environment())
        if "PYTHONPATH" in self._before and "PYTHONPATH" not in environment():
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
