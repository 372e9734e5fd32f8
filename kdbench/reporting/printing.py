"""Shared by the commands that print results: open the results folder, print lines and tables, write files."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kdbench.core.atomic_files import folder_instead, user_path, write_text
from kdbench.core.console import make_console as make_console
from kdbench.core.console import text_console
from kdbench.results.store import Store

STATUS_STYLES = {
    "done": "green",
    "running": "cyan",
    "failed": "red",
    "lost": "red",
    "interrupted": "yellow",
    "blocked": "magenta",
    "queued": "blue",
}
STATUS_WORDS = {"pending": "waiting"}  # how people call a state


def open_store(results: str | None, *, raw: bool = False) -> Store:
    """Open the given results folder, else the one in kdbench.toml, else `results`. The folder is never created.

    Args:
        raw: refuse a collected study.

    Raises:
        UserError: the folder is not a results folder of this version, or is a collected study where `raw` is set.
    """
    from kdbench.core.settings import Invocation
    from kdbench.planning.config import assemble_config

    folder = results or assemble_config({}, Path.cwd()).group(Invocation).results
    store = Store(user_path(folder), create=False)
    if raw:
        store.check_raw()
    return store


def write_output(out: str | None, write: Callable[[Console], None]) -> None:
    """Call `write` with a console that prints to the terminal, or into the file `out`.

    Raises:
        UserError: `out` is a folder.
    """
    if out is None:
        write(make_console())
        return
    path, text = user_path(out), io.StringIO()
    if path.is_dir():
        raise folder_instead(path)
    write(text_console(text))
    write_text(path, text.getvalue())
    print_line(make_console(), f"Wrote {out}.")


def print_line(console: Console, text: str | Text, style: str = "") -> None:
    """Print one line, which is not wrapped however long."""
    console.print(text if isinstance(text, Text) else Text(text, style=style), soft_wrap=True)


def print_heading(console: Console, text: str, style: str = "bold") -> None:
    """Print an empty line and a heading."""
    console.print()
    print_line(console, text, style)


def print_note(console: Console, text: str) -> None:
    """Print a dim, indented line; on a terminal, wrapped lines keep the indentation."""
    if console.is_terminal:
        console.print(Padding(Text(text, style="dim"), (0, 0, 0, 2)))
    else:
        print_line(console, f"  {text}")


def make_table() -> Table:
    """Return an empty table whose only rule is below its head."""
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")


def table_width(table: Table, console: Console) -> int:
    """Return the width in characters of a table in which nothing is wrapped."""
    return _measure(table, console).maximum


def _measure(table: Table, console: Console) -> Measurement:
    return Measurement.get(console, console.options.update(width=10_000), table)


def print_table(console: Console, table: Table, *, wrap: bool = False) -> None:
    """Print a table with nothing cut off. Where the console is too narrow, lines become longer than the console.

    Args:
        wrap: the table has columns of running text, which may be wrapped.
    """
    # Rich measures the words of a column that is not wrapped, and would take what they lack from the labels
    for column in (column for column in table.columns if column.no_wrap):
        cells = (Measurement.get(console, console.options, cell) for cell in (column.header, *column.cells))
        column.min_width = max(cell.maximum for cell in cells)
    measured = _measure(table, console)
    wanted, least = max(1, measured.maximum), console.width if wrap else measured.minimum
    target = min(wanted, max(console.width, least)) if wrap or console.is_terminal else wanted
    # not console.print(width=...), which never goes beyond the console
    lines = console.render_lines(table, console.options.update(width=target), pad=console.is_terminal)
    for segments in lines:
        text = Text.assemble(*((segment.text, segment.style or "") for segment in segments))
        if not console.is_terminal:
            text.rstrip()
        print_line(console, text)


def status_word(status: str) -> str:
    """Return the word that is printed for a stored status: `waiting` for `pending`."""
    return STATUS_WORDS.get(status, status)
