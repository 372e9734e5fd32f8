"""A table of the paper, found by its number and printed for every study that has results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench.config import presets
from kdbench.errors import UserError, unknown
from kdbench.results import studies
from kdbench.store import Store
from kdbench.tables import TABLES, Table
from kdbench.views.sheet import render

if TYPE_CHECKING:
    from rich.console import Console

FORMATS = ("terminal", "markdown", "latex", "csv")


def show_table(number: str, store: Store, preset: str | None, form: str, console: Console) -> None:
    """Print a table for every study in the results folder (of one preset, if given).

    Raises:
        UserError: no such table, format or preset, or nothing to show.
    """
    table = _table(number)()
    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    found = studies(store, preset)
    if not found and preset is not None:
        known = {*presets(), *(study.preset for study in studies(store))}
        if preset not in known:
            raise unknown("preset", preset, known)
    if not found:
        wanted = f" --preset {preset}" if preset else ""
        raise UserError(
            f"There are no results{f' of preset {preset}' if preset else ''} in {store.root}; "
            f"give another folder with --results DIR, or run: kdbench run{wanted} --methods all --tasks glue"
        )
    render([table.build(study) for study in found], form, console)


def _table(number: str) -> type[Table]:
    known = TABLES.all()
    name = f"table{number.lower().removeprefix('table')}"
    if name not in known and name not in TABLES.broken:
        raise unknown("table", number, [key.removeprefix("table") for key in known])
    return TABLES.get(name)
