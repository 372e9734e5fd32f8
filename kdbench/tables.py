"""Tables as plugins: each knows how to build a sheet from stored results, and nothing about how it is printed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from kdbench.errors import UserError, unknown
from kdbench.registry import Registry
from kdbench.results import StudyResults, studies
from kdbench.store import Store

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Entry:
    """A printed cell."""

    text: str
    best: bool = False


@dataclass
class Sheet:
    """A table, ready to be printed.

    `head` names the columns; every row starts with its label. A row of `rules` is preceded by a line. `records` hold
    the same numbers unrounded, one a metric, for CSV.
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
FORMATS = ("terminal", "markdown", "latex", "csv")


def show_table(number: str, store: Store, preset: str | None, form: str, console: Console) -> None:
    """Print a table for every study in the results folder (of one preset, if given).

    Raises:
        UserError: no such table, or nothing to show.
    """
    from kdbench.render import render

    known = TABLES.all()
    name = f"table{number}"
    if name not in known and name not in TABLES.broken:
        raise unknown("table", number, [key.removeprefix("table") for key in known])
    found = studies(store, preset)
    if not found:
        raise UserError(
            f"There are no results in {store.root}{f' for preset {preset}' if preset else ''}; "
            f"run: kdbench run --methods all --tasks glue"
        )
    for study in found:
        render(TABLES.get(name)().build(study), form, console)
