"""Import plugins safely, and find the entry points of installed packages."""

from __future__ import annotations

import importlib.util
import signal
import sys
import threading
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.abc import InspectLoader
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import CodeType, FrameType, ModuleType

from kdbench.core.errors import UserError
from kdbench.core.safe_path import ROOT


class Unloadable(Exception):
    """A plugin cannot be loaded; the message is the reason."""


class NoPlugin(Unloadable):
    """A file defines no plugin, such as a helper module."""


@contextmanager
def guarded() -> Iterator[None]:
    """Convert all exceptions of the block, also `sys.exit` and KeyboardInterrupt, to `Unloadable`.

    Ctrl-C still ends the program.
    """
    # record Ctrl-C, which a plugin could catch
    pressed: list[int] = []

    def press(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        raise KeyboardInterrupt

    here = threading.current_thread() is threading.main_thread()
    ours = here and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, press)
    try:
        yield
    except Unloadable:
        if not pressed:
            raise
    except BaseException as error:
        if not pressed:
            raise Unloadable(_reason(error)) from error
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    if pressed:  # even if the plugin has caught the exception
        raise KeyboardInterrupt


def _reason(error: BaseException) -> str:
    """Describe an error in one line; its `__str__` is the plugin's code and may fail."""
    try:
        text = " ".join(str(error).split())
    except BaseException:
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def announced(group: str) -> list[EntryPoint]:
    """Return the entry points of a group in all installed packages, those of kdbench first, sorted by name.

    In a checkout, kdbench's own are read from pyproject.toml, so that it need not be installed.
    """
    installed, own = entry_points(group=group), _checkout()
    found = list(installed)
    if own is not None:
        found = [point for point in installed if point.dist is None or point.dist.name != "kdbench"]
        found += [EntryPoint(name, value, group) for name, value in own.get(group, {}).items()]
    return sorted(found, key=lambda point: (not point.value.startswith("kdbench."), point.name))


def no_plugins(what: str, group: str, points: Sequence[EntryPoint], broken: Mapping[str, str]) -> UserError:
    """Build the error for a kdbench without any plugins of a kind.

    Args:
        what, group: as of `Registry`.
        points: the entry points of the group.
        broken: plugins that do not load -> the reason.
    """
    reasons = "; ".join(f"'{name}' does not load: {why}" for name, why in broken.items())
    if not points:
        reasons = f"no package that {sys.executable} sees announces any in '{group}'"
    return UserError(
        f"There is no {what} at all, so kdbench is not installed properly; install it again "
        f"({reasons or 'its packages hold none'})."
    )


@cache
def _checkout() -> dict[str, dict[str, str]] | None:
    """Read the entry points by group from the checkout's pyproject.toml; None without a checkout."""
    file = Path(ROOT) / "pyproject.toml"
    try:
        project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
    except (OSError, ValueError):
        return None
    return project.get("entry-points", {}) if project.get("name") == "kdbench" else None


class _BytesLoader(InspectLoader):
    """Imports a module from bytes, because the file may change after its hash was computed."""

    def __init__(self, source: bytes, path: Path) -> None:
        self._source, self._path = source, path

    def get_source(self, fullname: str) -> str:
        return importlib.util.decode_source(self._source)

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self._source, str(self._path))


def load_module(path: Path, name: str) -> tuple[ModuleType, bytes]:
    """Import a file under a module name; return the module and its source.

    Raises:
        Unloadable: the file cannot be read, or raises an error.
    """
    with guarded():
        if path.suffix != ".py":
            raise Unloadable("it is not a Python file")
        source = path.read_bytes()
        loader = _BytesLoader(source, path)
        spec = importlib.util.spec_from_file_location(name, path, loader=loader)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # where dataclasses and pydantic look for a class's module
        try:
            loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return module, source


def is_about_kdbench(path: Path) -> bool:
    """Return whether a file imports kdbench, as every plugin does; other files in the folder are ignored."""
    words = (b"import kdbench", b"from kdbench")
    try:
        return any(line.lstrip().startswith(words) for line in path.read_bytes().splitlines())
    except OSError:
        return False
