"""Sheets as text: for the terminal, Markdown, LaTeX (booktabs), CSV or JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from kdbench.core.plain_text import without_control
from kdbench.reporting import printing
from kdbench.reporting.data_frames import csv_text
from kdbench.reporting.formats.latex import latex
from kdbench.reporting.formats.presentation import PLAIN, Presentation
from kdbench.reporting.tables import TableCell, TableData

BEST_SIGN = "*"
BEST_NOTE = f"{BEST_SIGN} Best of its column, as printed."
MARKDOWN_SPECIAL = re.compile(r"([\\|*_<>`\[\]])")


def render(sheets: Sequence[TableData], form: str, console: Console, presentation: Presentation = PLAIN) -> None:
    """Print sheets in one of `show_table.FORMATS`; as CSV they become one table.

    Raises:
        UserError: one caption for several tables.
    """
    each = [presentation.numbered(i, len(sheets)) for i in range(1, len(sheets) + 1)]
    if form == "latex":
        console.file.write(without_control("\n".join(map(latex, sheets, each))))
        return
    if form == "csv":
        console.file.write(without_control(csv_text(record for sheet in sheets for record in sheet.marked_records)))
        return
    shown = [replace(sheet, notes=presentation.divide(sheet.notes)[0]) for sheet in sheets]
    if form == "json":
        console.file.write(without_control(json_text(shown)))
        return
    if form == "markdown":
        console.file.write(without_control("\n".join(map(markdown, shown))))
        return
    for i, sheet in enumerate(shown if console.color_system else map(with_best_sign, shown)):
        if i:
            console.print()
        # a title is a line of its own, because Rich would wrap it to the width of the table
        printing.print_line(console, sheet.title, "bold")
        full = _rich(sheet, lambda entry: entry.text)
        fits = not console.is_terminal or printing.table_width(full, console) <= console.width
        printing.print_table(console, full if fits else _rich(sheet, _two_lines))
        for note in sheet.notes:
            printing.print_note(console, note)


def with_best_sign(sheet: TableData) -> TableData:
    """Return a table whose best cells have a sign, for text without bold; as it is where the sign means something else.

    The note that explains the sign stands before the first one that explains another.
    """
    cells = [cell for row in sheet.rows for cell in row]
    if not any(cell.best for cell in cells) or any(BEST_SIGN in cell.text for cell in cells):
        return sheet
    rows = [[replace(cell, sign=BEST_SIGN + cell.sign) if cell.best else cell for cell in row] for row in sheet.rows]
    signs = tuple({cell.sign[0] for cell in cells if cell.sign})
    explained = (i for i, note in enumerate(sheet.notes) if signs and note.startswith(signs))
    place = next(explained, min(1, len(sheet.notes)))  # else after what the numbers are
    return replace(sheet, rows=rows, notes=[*sheet.notes[:place], BEST_NOTE, *sheet.notes[place:]])


def json_text(sheets: Sequence[TableData]) -> str:
    """Return a JSON list of tables: title, columns, rows with their cells, notes, and the records that CSV has."""

    def cell(item: TableCell) -> dict[str, Any]:
        return {"text": item.text, "numbers": item.numbers, "best": item.best, "sign": item.sign}

    tables = [
        {
            "title": sheet.title,
            "columns": [" ".join(name.split()) for name in sheet.head[1:]],
            "rows": [{"label": row[0].text.strip(), "cells": list(map(cell, row[1:]))} for row in sheet.rows],
            "notes": sheet.notes,
            "records": sheet.marked_records,
        }
        for sheet in sheets
    ]
    return json.dumps(_finite(tables), ensure_ascii=False, indent=1) + "\n"


def _finite(item: Any) -> Any:
    """Return a value for JSON, which has no NaN and no infinity: null takes their place."""
    if isinstance(item, dict):
        return {key: _finite(value) for key, value in item.items()}
    if isinstance(item, list | tuple):
        return [_finite(value) for value in item]
    return None if isinstance(item, float) and not math.isfinite(item) else item


def _two_lines(entry: TableCell) -> str:
    return f"{entry.short}\n{entry.below}" if entry.below else entry.short


def _rich(sheet: TableData, write: Callable[[TableCell], str]) -> RichTable:
    table = printing.make_table()
    word = max((len(word) for row in sheet.rows for word in row[0].text.split()), default=1)
    table.add_column(Text(sheet.head[0]), min_width=word)  # labels may wrap, between words
    columns = [_column(sheet, i, write) for i in range(1, len(sheet.head))]
    for head, *_ in columns:
        table.add_column(Text(head), no_wrap=True)
    for i, row in enumerate(sheet.rows):
        texts = [write(row[0]), *(column[i + 1] for column in columns)]
        cells = [Text(text, style="bold green" if e.best else "") for text, e in zip(texts, row, strict=True)]
        table.add_row(*cells, end_section=i + 1 in sheet.rules)
    return table


def _column(sheet: TableData, column: int, write: Callable[[TableCell], str]) -> list[str]:
    """Return the head and the cells of a column; numbers end with room for a sign, so that digits stand below digits.

    Rich would strip that room from a column that it aligns right.
    """
    cells = [row[column] for row in sheet.rows]
    if sheet.is_text(column):
        return [sheet.head[column], *map(write, cells)]
    room = max((len(cell.sign) for cell in cells), default=0)
    lines = [sheet.head[column].split("\n")]
    for cell in cells:  # the sign stands in the first line
        first, *below = write(cell).split("\n")
        lines.append([first + " " * (room - len(cell.sign)), *(part + " " * room for part in below)])
    width = max(cell_len(part) for parts in lines for part in parts)
    return ["\n".join(" " * (width - cell_len(part)) + part for part in parts) for parts in lines]


def markdown(sheet: TableData) -> str:
    """Write a GitHub table, title above, notes below."""

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    def entry(item: TableCell) -> str:
        return f"**{_plain(item.text)}**" if item.best else _plain(item.text)

    head = line(_plain(name.replace("\n", " ")) for name in sheet.head)
    rule = line("---" if not i or sheet.is_text(i) else "---:" for i in range(len(sheet.head)))
    rows = [line(map(entry, row)) for row in sheet.rows]
    notes = [f"- {_plain(note)}" for note in sheet.notes]
    return "\n".join([f"**{_plain(sheet.title)}**", "", head, rule, *rows, "", *notes]) + "\n"


def _plain(text: str) -> str:
    """Escape Markdown's special characters."""
    return MARKDOWN_SPECIAL.sub(r"\\\1", text)
