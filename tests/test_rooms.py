"""The rooms of the house: how many there are, what each is for, and that imports between them point one way."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "kdbench"
# each may import what stands before it
ROOMS = ("core", "data", "models", "distill", "results", "planning", "training", "reporting", "cli")
FIXED = {"methods": "planning", "tasks": "data", "analysis": "reporting", "slurm": "reporting"}  # see up to this room


def modules(room: str) -> list[Path]:
    return sorted((PACKAGE / room).rglob("*.py"))


def imports(file: Path) -> Iterator[tuple[str, int]]:
    """Yield the rooms that a file imports from, also within functions and for annotations, with the line."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "kdbench":
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kdbench."):
            yield str(node.module).split(".")[1], node.lineno
        elif isinstance(node, ast.Import):
            yield from (
                (alias.name.split(".")[1], node.lineno) for alias in node.names if alias.name.startswith("kdbench.")
            )


def test_there_are_at_most_ten_rooms() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms - FIXED.keys() == set(ROOMS)
    assert len(ROOMS) <= 10
    files = {path.name for path in PACKAGE.iterdir() if path.is_file()}
    assert files == {"__init__.py", "__init__.pyi", "__main__.py", "py.typed"}


@pytest.mark.parametrize("room", [*ROOMS, *FIXED])
def test_imports_point_one_way(room: str) -> None:
    highest = FIXED.get(room, room)
    allowed = {*ROOMS[: ROOMS.index(highest) + 1], room, "__version__"}
    wrong = [
        f"{file.relative_to(PACKAGE)}:{line} imports {other}"
        for file in modules(room) for other, line in imports(file) if other not in allowed
    ]  # fmt: skip
    assert wrong == []


@pytest.mark.parametrize("package", sorted(PACKAGE.rglob("__init__.py")), ids=str)
def test_every_room_says_what_it_is_for(package: Path) -> None:
    assert ast.get_docstring(ast.parse(package.read_text(encoding="utf-8")))


def test_no_circle_of_modules() -> None:
    """Not even through imports within functions or for annotations alone."""
    names = {
        file: ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts)
        for room in [*ROOMS, *FIXED]
        for file in modules(room)
    }
    graph = {name: set(targets(file, set(names.values()))) for file, name in names.items()}
    while leaves := [name for name, needs in graph.items() if not needs & graph.keys()]:
        for name in leaves:
            del graph[name]
    assert graph == {}


def targets(file: Path, known: set[str]) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield from {f"{node.module}.{alias.name}", str(node.module)} & known
