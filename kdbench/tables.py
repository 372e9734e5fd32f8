"""Tables as plugins: each knows how to build a sheet from stored results, and nothing about how it is printed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

from kdbench.registry import Registry
from kdbench.results import StudyResults


@dataclass(frozen=True)
class Entry:
    """A printed cell: numbers (or a label), each perhaps with a spread, joined by slashes."""

    values: tuple[str, ...]
    spreads: tuple[str, ...] = ()
    best: bool = False

    @property
    def text(self) -> str:
        """`79.5±0.4/66.0±0.5`"""
        if not self.spreads:
            return self.short
        return "/".join(f"{value}±{spread}" for value, spread in zip(self.values, self.spreads, strict=True))

    @property
    def short(self) -> str:
        """`79.5/66.0`"""
        return "/".join(self.values)

    @property
    def below(self) -> str:
        """`±0.4/0.5`, for a line of its own where `text` is too long."""
        return f"±{'/'.join(self.spreads)}" if self.spreads else ""


@dataclass
class Sheet:
    """A table, ready to be printed.

    `head` names the columns, a line break in a name is one in the head; every row starts with its label. A row of
    `rules` is preceded by a line. `records` hold the numbers of the table unrounded, each in one record, for CSV.
    """

    title: str
    head: list[str]
    rows: list[list[Entry]] = field(default_factory=list)
    rules: set[int] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)


class Table(ABC):
    """A table of the paper. Subclass it in a file `analysis/tableN.py`."""

    name: ClassVar[str] = ""
    title: ClassVar[str]

    @abstractmethod
    def build(self, study: StudyResults) -> Sheet:
        """The sheet for one study."""


TABLES: Registry[Table] = Registry("table", "kdbench.tables", Table)  # type: ignore[type-abstract]
