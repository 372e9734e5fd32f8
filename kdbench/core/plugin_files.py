"""Tell versions of plugins' files apart by their code."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

CHANGED, ABSENT = "has changed since", "is not here"


class PluginFile(BaseModel):
    """A plugin's file whose code identifies the version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    sha256: str
    code: str = Field(default="", exclude_if=lambda value: not value)  # see `code_hash`; "" of runs before it was kept

    @classmethod
    def of(cls, path: Path, source: bytes) -> PluginFile:
        """Describe a file with this content; one that is no Python has no hash of its code."""
        try:
            code = code_hash(source)
        except (SyntaxError, ValueError):
            code = ""
        return cls(path=str(path), sha256=hashlib.sha256(source).hexdigest(), code=code)

    @property
    def version(self) -> str:
        """Return what identifies the code."""
        return self.code or self.sha256

    def find_change(self) -> str:
        """Say what has become of the file: that it is not here, or has changed since; "" where the code is the same."""
        try:
            is_same = self.is_same(PluginFile.of(Path(self.path), Path(self.path).read_bytes()))
        except OSError:
            return ABSENT
        return "" if is_same else CHANGED

    def is_same(self, other: PluginFile | None) -> bool:
        """Return whether another file has the same code."""
        return other is not None and (self.sha256 == other.sha256 or (bool(self.code) and self.code == other.code))


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
