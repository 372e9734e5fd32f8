"""Registries of plugins, which are loaded at first use; a broken plugin is listed and does not affect others."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from kdbench.core.atomic_files import sha256_of
from kdbench.core.errors import UserError, unknown
from kdbench.core.formatting import sentence
from kdbench.core.plugin_attributes import settle_attributes
from kdbench.core.plugin_files import PluginFile
from kdbench.core.plugin_imports import imported_files
from kdbench.core.plugin_loading import (
    NoPlugin,
    Unloadable,
    announced,
    guarded,
    is_about_kdbench,
    load_module,
    no_plugins,
)
from kdbench.core.plugin_rows import names_of, rows_of, titles_of

T = TypeVar("T")
NAME = re.compile(r"\w[\w.-]*", re.ASCII)
ALL = "all"
RESERVED = (ALL, "everything")


class Registry(Generic[T]):
    """The plugins of one kind.

    They come from entry points of `group`, and from the subfolder `folder` of the working folder. An entry point names
    a class, which gets the entry point's name, or a package, whose files define one plugin each with the file's name.
    Files without plugins (shared helpers) are skipped.

    Args:
        what: the singular noun for messages ("method").
        group: the entry-point group ("kdbench.methods").
        base: the base class of the plugins; its ClassVars declare their attributes.
        folder: the name of the folder for users' plugins ("methods"); "" for none.
        find_problem: returns why a class cannot be taken, though its attributes have the right types; "" when it can.

    Attributes:
        packages: folders of the packages that are loaded.
        in_packages: files of packages' plugins -> their content when they were loaded.
        broken: plugins that do not load -> the reason.
        files: plugins that their file's code identifies -> their files: those outside any package, and those that
            could state a `version` and do not.
    """

    def __init__(
        self, what: str, group: str, base: type[T], folder: str = "",
        find_problem: Callable[[type[T]], str] = lambda plugin: "",
    ) -> None:  # fmt: skip
        self.what = what
        self.group = group
        self.base = base
        self.folder = folder
        self.find_problem = find_problem
        self._found: dict[str, type[T]] | None = None
        self._failed: dict[str, Path] = {}  # files in the working folder that do not load
        self._imported: set[Path] = set()  # by plugins' files; modules of the user, which Python reads once
        self._contents: dict[Path, str] | None = None  # file -> hash of what was read
        self.packages: list[Path] = []
        self.in_packages: dict[Path, bytes] = {}
        self.broken: dict[str, str] = {}
        self.files: dict[str, PluginFile] = {}

    def all(self) -> dict[str, type[T]]:
        """Return all plugins that load, by name; the others are in `broken`.

        Raises:
            UserError: none loads at all, so kdbench is not installed properly.
        """
        if self._found is None:
            found: dict[str, type[T]] = {}
            self._found, self.packages, points = found, [], announced(self.group)
            for point in points:
                for name, plugin in self._load(point).items():
                    if name not in found and (problem := self._title_problem(plugin)):
                        self.broken[name] = f"{problem} (entry point {point.value})"
                    else:
                        self.add(name, plugin)
            if not found:
                self._found = None
                raise no_plugins(self.what, self.group, points, self.broken)
            files = (Path(inspect.getfile(plugin)) for plugin in found.values())
            self.in_packages = {path: path.read_bytes() for path in files if path.is_file()}
            for path in (path for path in self.user_files() if path.suffix == ".py"):
                self._add_own(path)
            self.add_more()
            self._contents = self._read_contents() if self.folder else None  # users have no plugins of other kinds
        return self._found

    def refresh(self) -> None:
        """Read the user's plugins again where their files have changed since, as in a notebook.

        Raises:
            UserError: a file of a package, or one that a plugin imports, has changed, which Python reads once.
        """
        if self._found is None or self._contents is None or (now := self._read_contents()) == self._contents:
            return
        once = (*self.in_packages, *sorted(self._imported))
        if changed := [path for path in once if now.get(path) != self._contents.get(path)]:
            raise UserError(f"{changed[0]} has changed since it was read; restart Python, or the notebook's kernel.")
        # files that were named are read again, too
        named = [Path(one.path) for one in self.files.values()]
        self._found, self._contents, self._failed, self.broken, self.files = None, None, {}, {}, {}
        self.all()
        here = {*self.in_packages, *self.user_files()}
        for path in (path for path in named if path.is_file() and path not in here):
            with suppress(UserError):  # whoever asks for it is told
                self.add_file(path)

    def _read_contents(self) -> dict[Path, str]:
        """Return a hash of each file that defines plugins, or may."""
        own = (Path(one.path) for one in self.files.values())
        files = {*self.in_packages, *self._imported, *self.user_files(), *own}
        return {path: sha256_of(path) for path in files if path.is_file()}

    def get(self, name: str) -> type[T]:
        """Return the plugin called `name`.

        Raises:
            UserError: there is none, or it does not load.
        """
        found = self.all()
        if name in self.broken:
            raise UserError(f"The {self.what} '{name}' does not load: {self.broken[name]}.")
        if name not in found:
            raise self.unknown(name, found)
        return found[name]

    def unknown(self, name: str, valid: Iterable[str]) -> UserError:
        """Build the error for a name that no plugin has; a file of this name that defines none is named."""
        own = {path.stem: path for path in Path(self.folder).glob("*.py")} if self.folder else {}
        if name in own:
            return UserError(f"There is a file '{own[name]}', but {self._no_plugin}.")
        return unknown(self.what, name, valid)

    @property
    def _no_plugin(self) -> str:
        """Say of a file that it defines no plugin, and what one is."""
        base = f"{self.base.__module__}.{self.base.__qualname__}"
        return f"it defines no {self.what}, that is, a class with a title, derived from {base}"

    def owner(self, row: str) -> str | None:
        """Return the name of the plugin that is called `row` (even if broken) or has a variant `row`; None if none."""
        found = self.all()
        if row in found or row in self.broken:
            return row
        return next((name for name, plugin in found.items() if row in rows_of(name, plugin)), None)

    def file_of(self, name: str) -> str:
        """Return the file that defines a plugin."""
        return inspect.getfile(self.all()[name])

    def add_file(self, path: Path) -> str:
        """Load a plugin from any file, for this process, and return its name, which is the file's.

        Raises:
            UserError: the file is missing, does not load, defines no plugin, or its name is taken.
        """
        known = [name for name in self.all() if Path(self.file_of(name)).resolve() == path.resolve()]
        if known:
            return known[0]
        if not path.is_file():
            raise UserError(f"There is no file '{path}'; give the name of a {self.what}, or a Python file.")
        if problem := self._clash(path.resolve()):
            raise UserError(f"{sentence(problem)}.")
        try:
            return self._read(path.resolve())
        except Unloadable as error:
            raise UserError(f"'{path}' does not load: {error}.") from error

    def add_more(self) -> None:
        """Add plugins from other places, after all others; a registry with such places overrides this."""

    def name_problem(self, name: str, place: str) -> str:
        """Return why a new plugin cannot be called `name`; "" when it can."""
        if not NAME.fullmatch(name) or name in RESERVED:
            return (
                f"'{name}' cannot name a {self.what}: use letters, digits, '_', '.' and '-', "
                f"and not {' or '.join(map(repr, RESERVED))}"
            )
        if any(name == getattr(plugin, "group", "") for plugin in self.all().values()):
            return f"'{name}' is the name of a group of {self.what}s, so {place} cannot have it; rename yours"
        owner = self.owner(name)
        if owner is None:
            return ""
        if owner in self.broken:
            return f"there is a {self.what} '{owner}' already, which does not load: {self.broken[owner]}"
        return f"two files define a {self.what} '{name}', {self.file_of(owner)} and {place}; rename yours"

    def user_files(self) -> list[Path]:
        """Return the plugin files in the working folder, unless they are loaded as a package's (in a checkout).

        A registry with other places overrides this.
        """
        folder = Path(self.folder)
        if not self.folder or not folder.is_dir() or folder.resolve() in self.packages:
            return []
        files = (path for path in sorted(folder.resolve().glob("*.py")) if not path.name.startswith("_"))
        return [path for path in files if is_about_kdbench(path)]

    def _add_own(self, path: Path) -> None:
        if problem := self._clash(path):
            # a copy of the loaded plugin's file, as in another checkout of kdbench, does no harm
            if path.stem not in self.all() or Path(self.file_of(path.stem)).read_bytes() != path.read_bytes():
                self.all().pop(path.stem, None)  # ambiguous
                self.broken[path.stem] = problem
            return
        try:
            self._read(path)
        except NoPlugin:
            return
        except Unloadable as error:
            self.broken[path.stem], self._failed[path.stem] = f"{error} ({path})", path

    def _clash(self, path: Path) -> str:
        """Return why a file's name cannot be a plugin's; "" when it can."""
        owner = self.owner(path.stem)
        return "" if owner and self._failed.get(owner) == path else self.name_problem(path.stem, str(path))

    def _read(self, path: Path) -> str:
        """Load a file whose name is free, and return its plugin's name.

        Raises:
            Unloadable: the file does not load, or does not define exactly one plugin.
        """
        module, source = load_module(path, f"{self.what}_file_{path.stem}")
        plugins = self._plugins_of(module)
        if not plugins:
            raise NoPlugin(self._no_plugin)
        if problem := self._title_problem(plugins[0]):
            raise Unloadable(problem)
        if len(plugins) > 1:
            raise Unloadable(f"it defines {len(plugins)} {self.what}s ({names_of(plugins)}); it must define one")
        if taken := [row for row in rows_of(path.stem, plugins[0]) if self.owner(row) not in (None, path.stem)]:
            raise Unloadable(f"its variant '{taken[0]}' has the name of another {self.what}; rename it")
        self.broken.pop(path.stem, None)
        self.add(path.stem, plugins[0])
        self._note_file(path.stem, path, source)
        if self._contents is not None:  # a file that was named when the others were read already
            self._contents |= {file: sha256_of(file) for file in imported_files(path, source)}
            self._contents[path] = self.files[path.stem].sha256
        return path.stem

    def _title_problem(self, plugin: type[T]) -> str:
        """Return why the titles of a plugin's rows cannot be told from others in tables; "" when they can."""
        own = titles_of(plugin)
        for title in own:
            if owner := next((name for name, other in self.all().items() if title in titles_of(other)), None):
                return f"its title '{title}' is that of the {self.what} '{owner}'; give it another"
            if own.count(title) > 1:
                return f"two of its rows have the title '{title}'; give them different ones"
        return ""

    def add(self, name: str, plugin: type[T]) -> None:
        """Add a plugin under a name; a name that is taken or not valid makes it broken."""
        assert self._found is not None
        other = self._found.get(name)
        if other is not None and other is not plugin:
            here, there = (f"{c.__module__}.{c.__qualname__}" for c in (plugin, other))
            del self._found[name]
            self.broken[name] = f"two plugins have this name, {there} and {here}; rename one"
        elif not NAME.fullmatch(name):
            self.broken[name] = "a name may hold letters, digits, '_', '.' and '-' only, because folders are named so"
        elif name not in self.broken:
            plugin.name = name  # type: ignore[attr-defined]  # the only place that sets names
            self._found[name] = plugin

    def _load(self, point: EntryPoint) -> dict[str, type[T]]:
        """Load the plugins of an entry point, by name."""
        try:
            with guarded():
                target = point.load()
                if not (isinstance(target, ModuleType) and hasattr(target, "__path__")):
                    if problem := self._problem(target):
                        raise Unloadable(problem)
                    self._note_code(point.name, target)
                    return {point.name: target}
                self.packages += [Path(folder).resolve() for folder in target.__path__]
                names = [module.name for module in pkgutil.iter_modules(target.__path__)]
        except Unloadable as error:
            self.broken[point.name] = f"{error} (entry point {point.value})"
            return {}
        loaded = ((name, self._load_file(name, f"{target.__name__}.{name}")) for name in names)
        return {name: plugin for name, plugin in loaded if plugin is not None}

    def _load_file(self, name: str, module: str) -> type[T] | None:
        try:
            with guarded():
                plugins = self._plugins_of(importlib.import_module(module))
        except Unloadable as error:
            self.broken[name] = str(error)
            return None
        if len(plugins) > 1:
            self.broken[name] = f"the file defines several {self.what}s ({names_of(plugins)}); keep one per file"
            return None
        if plugins:
            self._note_code(name, plugins[0])
        return plugins[0] if plugins else None

    def _note_code(self, name: str, plugin: type[T]) -> None:
        """Note the file of a package's plugin whose version nobody states, where plugins of this kind have one."""
        if hasattr(self.base, "version") and "version" not in vars(plugin):  # one that it inherits speaks of other code
            file = Path(inspect.getfile(plugin))
            self._note_file(name, file, file.read_bytes())

    def _note_file(self, name: str, path: Path, source: bytes) -> None:
        """Note a file whose code identifies its plugin, and what it imports."""
        self.files[name] = PluginFile.of(path, source)
        self._imported |= {*imported_files(path, source)}

    def _plugins_of(self, module: ModuleType) -> list[type[T]]:
        """Return the plugins that a module defines; a class that says `title = ""` is only a base class.

        Raises:
            Unloadable: a plugin is invalid.
        """
        with guarded():
            here = [c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__]
            own = [c for c in here if issubclass(c, self.base)]
            plugins = [c for c in own if getattr(c, "title", None) != ""]
            if own and not plugins and all("title" not in vars(c) for c in own):
                raise Unloadable(f'{own[0].__qualname__} has no title; give it one, or title = "" to a base class')
            for plugin in plugins:
                if problem := self._problem(plugin):
                    raise Unloadable(problem)
        return plugins

    def _problem(self, target: Any) -> str:
        """Return why an object is no valid plugin of this kind; "" when it is."""
        if not (isinstance(target, type) and issubclass(target, self.base)):
            return f"{target!r} is not a subclass of {self.base.__module__}.{self.base.__qualname__}"
        if inspect.isabstract(target):
            lacks = ", ".join(sorted(getattr(target, "__abstractmethods__", ())))
            return f"{target.__qualname__} is abstract: it lacks {lacks}"
        return settle_attributes(target, self.base) or self.find_problem(target)
