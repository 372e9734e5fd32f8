"""Find the user's own modules that a plugin's file imports: their code decides what the plugin does, too."""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from kdbench.core.safe_path import ROOT

LIBRARIES = {"site-packages", "dist-packages"}
INIT = "__init__.py"


def imported_files(path: Path, source: bytes) -> list[Path]:
    """Return the user's files that a plugin's file imports, directly or through one another, sorted.

    Installed libraries and kdbench itself are no such files: environment.json of a run has their versions. In the
    folder of kdbench's own plugins, files that state a `version` are known by it.

    Args:
        path: the plugin's file, which need not be loaded.
        source: its content.
    """
    path = path.resolve()
    found, left = set[Path](), [(path, source)]
    while left:
        here, text = left.pop()
        for file in {file.resolve() for file in _imported_by(text, here, path.parent)} - {path, *found}:
            if _is_own(file, path):
                found.add(file)
                left.append((file, file.read_bytes()))
    return sorted(found)


def _imported_by(source: bytes, here: Path, folder: Path) -> Iterator[Path]:
    """Yield the files that the import statements of a file name; `folder` is where a plugin's own modules lie."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError):
        return
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files_of(alias.name.split("."), folder)
        elif isinstance(node, ast.ImportFrom):
            parts = node.module.split(".") if node.module else []
            for alias in node.names:  # each may be a module, or a name in one
                if node.level:
                    yield from _files_below([here.parents[node.level - 1]], [*parts, alias.name])
                else:
                    yield from _files_of([*parts, alias.name], folder)


def _files_of(parts: list[str], folder: Path) -> Iterator[Path]:
    """Yield the files of a dotted name: of the packages on the way, and of the module. Nothing is imported."""
    try:
        spec = find_spec(parts[0])
    except (ImportError, ValueError):  # of a module without a spec, such as __main__
        return
    if spec is None:  # a plugin may add its own folder to the search path when it is loaded
        yield from _files_below([folder], parts)
        return
    if spec.origin and spec.origin.endswith(".py"):
        yield Path(spec.origin)
    yield from _files_below(map(Path, spec.submodule_search_locations or ()), parts[1:])


def _files_below(places: Iterable[Path], parts: list[str]) -> Iterator[Path]:
    """Yield the files of a dotted name whose first part lies in one of some folders."""
    places = list(places)
    for part in parts:
        modules = (place / f"{part}.py" for place in places)
        yield from (file for file in modules if file.is_file())
        places = [place / part for place in places if (place / part).is_dir()]
        yield from (file for place in places if (file := place / INIT).is_file())


def _is_own(file: Path, plugin: Path) -> bool:
    """Return whether a file is the user's: in the plugin's package, or in no library."""
    if any(file.is_relative_to(folder) for folder in _own_folders()):
        return file.parent == plugin.parent and file.name != INIT and not _states_version(file)
    package = plugin.parent
    while (package / INIT).is_file() and (package.parent / INIT).is_file():
        package = package.parent
    is_library = bool(LIBRARIES & set(file.parts)) or file.is_relative_to(sysconfig.get_path("stdlib"))
    return file.is_relative_to(package) or not is_library


@cache
def _own_folders() -> list[Path]:
    """Return the folders of kdbench, with those that a checkout has beside its package."""
    package = Path(ROOT, "kdbench")
    return [package, *(folder.resolve() for folder in package.iterdir() if folder.is_symlink())]


def _states_version(file: Path) -> bool:
    """Return whether a class of a file has a `version`."""
    classes = (node for node in ast.parse(file.read_bytes()).body if isinstance(node, ast.ClassDef))
    statements = (statement for found in classes for statement in found.body if isinstance(statement, ast.Assign))
    return any(isinstance(name, ast.Name) and name.id == "version" for one in statements for name in one.targets)
