"""Tell versions of plugins' files apart by their code."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from kdbench.core.plugin_imports import imported_files

CHANGED, ABSENT = "has changed since", "is not here"


class PluginFile(BaseModel):
    """A plugin's file whose code identifies the version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    sha256: str
    # see `whole_code_hash`; "" of runs before it was kept
    code: str = Field(default="", exclude_if=lambda value: not value)

    @classmethod
    def of(cls, path: Path, source: bytes) -> PluginFile:
        """Describe a file with this content; one that is no Python has no hash of its code."""
        return cls(path=str(path), sha256=hashlib.sha256(source).hexdigest(), code=whole_code_hash(path, source))

    @property
    def version(self) -> str:
        """Return what identifies the code."""
        return self.code or self.sha256

    @property
    def subject(self) -> str:
        """Return the path for a sentence on a change, with a mention of modules that the file imports, if any."""
        try:
            imports = imported_files(Path(self.path), Path(self.path).read_bytes())
        except OSError:
            imports = []
        return f"{self.path} or a module that it imports" if imports else self.path

    def find_change(self) -> str:
        """Say what has become of the file: that it is not here, or has changed since; "" where the code is the same."""
        try:
            is_same = self.is_same(PluginFile.of(Path(self.path), Path(self.path).read_bytes()))
        except OSError:
            return ABSENT
        return "" if is_same else CHANGED

    def is_same(self, other: PluginFile | None) -> bool:
        """Return whether another file has the same code."""
        if other is None:
            return False
        return self.code == other.code if self.code and other.code else self.sha256 == other.sha256


def whole_code_hash(path: Path, source: bytes) -> str:
    """Return the `code_hash` of a file and of the user's modules that it imports; "" where one is no Python."""
    try:
        own, others = code_hash(source), [code_hash(file.read_bytes()) for file in imported_files(path, source)]
    except (OSError, SyntaxError, ValueError):
        return ""
    return hashlib.sha256(" ".join([own, *sorted(others)]).encode()).hexdigest()[:16] if others else own


def code_hash(source: bytes) -> str:
    """Return the first 16 digits of a sha256 over a file's code, without comments, docstrings and spaces."""
    return hashlib.sha256(_syntax(ast.parse(source)).encode()).hexdigest()[:16]


def _syntax(part: object) -> str:
    """Write a syntax tree down, equally in all versions of Python: without places, empty fields and lone strings."""
    if isinstance(part, list):
        return "[" + ", ".join(_syntax(item) for item in part if not _is_lone_string(item)) + "]"
    if not isinstance(part, ast.AST):
        return repr(part)
    fields = (f"{name}={_syntax(value)}" for name, value in ast.iter_fields(part) if value is not None and value != [])
    return f"{type(part).__name__}({', '.join(fields)})"


def _is_lone_string(part: object) -> bool:
    """Return whether a statement is a string alone, such as a docstring."""
    return isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant) and isinstance(part.value.value, str)
