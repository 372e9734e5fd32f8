"""Plugins: found through entry points, loaded when first asked for, listed with their error when broken."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from kdbench.errors import UserError, unknown

T = TypeVar("T")
NAME = re.compile(r"\w[\w.-]*", re.ASCII)


class Registry(Generic[T]):
    """The plugins of one entry-point group.

    An entry point names a class, whose name is the entry point's; or a package, each file of which is one plugin
    with the file's name. Files that define no plugin (shared helpers) are passed over.

    Args:
        what: the singular noun for messages ("method").
        group: the entry-point group ("kdbench.methods").
        base: the class that every plugin derives from.
    """

    def __init__(self, what: str, group: str, base: type[T]) -> None:
        self.what = what
        self.group = group
        self.base = base
        self._found: dict[str, type[T]] | None = None
        self.broken: dict[str, str] = {}

    def all(self) -> dict[str, type[T]]:
        """Every plugin that loads, by name; those that do not are in `broken` with the reason."""
        if self._found is None:
            self._found = {}
            for point in sorted(entry_points(group=self.group), key=lambda p: p.name):
                for name, plugin in self._load(point):
                    self._add(name, plugin)
        return self._found

    def get(self, name: str) -> type[T]:
        """The plugin called `name`.

        Raises:
            UserError: there is none, or it does not load.
        """
        found = self.all()
        if name in self.broken:
            raise UserError(f"The {self.what} '{name}' does not load: {self.broken[name]}.")
        if name not in found:
            raise unknown(self.what, name, found)
        return found[name]

    def folder(self) -> Path:
        """The folder in which every file is a plugin."""
        for point in entry_points(group=self.group):
            target = point.load()
            if isinstance(target, ModuleType) and hasattr(target, "__path__"):
                return Path(next(iter(target.__path__)))
        raise UserError(f"No package of {self.what}s is installed; install kdbench again.")

    def add_file(self, path: Path) -> str:
        """Load a plugin from a file anywhere, under the file's name, for this process.

        Raises:
            UserError: there is no such file, it does not load, or it defines no plugin.
        """
        known = [n for n, p in self.all().items() if Path(inspect.getfile(p)).resolve() == path.resolve()]
        if known:
            return known[0]
        if not path.is_file():
            raise UserError(f"There is no file '{path}'; give the name of a {self.what}, or a Python file.")
        if path.stem in self.all():
            raise UserError(f"There is a {self.what} '{path.stem}' already; give the file another name.")
        plugin = self._read(path)
        self.broken.pop(path.stem, None)
        self._add(path.stem, plugin)
        self.get(path.stem)
        return path.stem

    def _read(self, path: Path) -> type[T]:
        name = f"{self.group}.{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        try:
            if spec is None or spec.loader is None:
                raise ImportError("not a Python file")
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            spec.loader.exec_module(module)
            plugins = self._plugins_of(module)
        except Exception as error:
            raise UserError(f"'{path}' does not load: {type(error).__name__}: {error}.") from error
        if len(plugins) != 1:
            raise UserError(f"'{path}' defines {len(plugins)} {self.what}s; it must define one.")
        return plugins[0]

    def _add(self, name: str, plugin: type[T]) -> None:
        assert self._found is not None
        other = self._found.get(name)
        if other is not None and other is not plugin:
            here, there = (f"{c.__module__}.{c.__qualname__}" for c in (plugin, other))
            del self._found[name]
            self.broken[name] = f"two plugins have this name, {there} and {here}; rename one"
        elif not NAME.fullmatch(name):
            self.broken[name] = "a name may hold letters, digits, '_', '.' and '-' only, because folders are named so"
        elif name not in self.broken:
            plugin.name = name  # type: ignore[attr-defined]  # the one place where a name is given
            self._found[name] = plugin

    def _load(self, point: EntryPoint) -> Iterator[tuple[str, type[T]]]:
        try:
            target = point.load()
        except Exception as error:
            self.broken[point.name] = f"{type(error).__name__}: {error} (entry point {point.value})"
            return
        if isinstance(target, ModuleType) and hasattr(target, "__path__"):
            for module in pkgutil.iter_modules(target.__path__):
                yield from self._load_file(module.name, f"{target.__name__}.{module.name}")
        elif problem := self._check(target):
            self.broken[point.name] = problem
        else:
            yield point.name, target

    def _load_file(self, name: str, path: str) -> Iterator[tuple[str, type[T]]]:
        try:
            plugins = self._plugins_of(importlib.import_module(path))
        except Exception as error:
            self.broken[name] = f"{type(error).__name__}: {error}"
            return
        if len(plugins) > 1:
            names = ", ".join(p.__name__ for p in plugins)
            self.broken[name] = f"the file defines several {self.what}s ({names}); keep one per file"
        elif plugins:
            yield name, plugins[0]

    def _plugins_of(self, module: ModuleType) -> list[type[T]]:
        """The plugins that the module itself defines. A class with an empty title is a base for others."""
        own = [c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__]
        plugins = [c for c in own if issubclass(c, self.base) and getattr(c, "title", None) != ""]
        for plugin in plugins:
            if problem := self._check(plugin):
                raise TypeError(problem)
        return plugins

    def _check(self, target: Any) -> str:
        if not (isinstance(target, type) and issubclass(target, self.base)):
            return f"{target!r} is not a subclass of {self.base.__module__}.{self.base.__qualname__}"
        if inspect.isabstract(target):
            lacks = ", ".join(sorted(getattr(target, "__abstractmethods__", ())))
            return f"{target.__qualname__} is abstract: it lacks {lacks}"
        return "" if hasattr(target, "title") else f"{target.__qualname__} has no title"
