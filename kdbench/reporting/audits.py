"""Audits as plugins: checks of published numbers against one another, which need no results."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from kdbench.core.registry import Registry
from kdbench.reporting.tables import TableData


class Audit(ABC):
    """An audit of published numbers. Subclass it in a file of its own in `analysis/`, or in a package of yours."""

    name: ClassVar[str] = ""  # set by the registry: the file's (or the entry point's) name
    title: ClassVar[str]

    @abstractmethod
    def sheets(self) -> list[TableData]:
        """Return tables of recomputed numbers, with the findings as notes."""


AUDITS: Registry[Audit] = Registry("audit", "kdbench.audits", Audit)  # type: ignore[type-abstract]
