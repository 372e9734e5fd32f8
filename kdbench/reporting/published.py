"""Add the published numbers to a table, and the differences of our numbers from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from kdbench.reporting.tables import EMPTY_CELL, NO_NUMBER, Published, TableCell, TableData


def add_published(sheet: TableData, paper: Published) -> TableData:
    """Return the table with the published numbers and the differences below every row that the paper has too.

    Records become one a printed number: published, ours (unrounded, the mean over seeds), and the difference.
    """
    known = any((key, name) in paper.cells for key in sheet.row_keys for name in sheet.column_keys)
    told = [paper.note, *_other(sheet, paper)] if known else ["The paper has no numbers of these rows and tasks."]
    out = replace(sheet, rows=[], rules=set(), notes=[*sheet.notes, *told], records=[], row_keys=[])
    before = 0
    for i, (key, row) in enumerate(zip(sheet.row_keys, sheet.rows, strict=True)):
        printed = [paper.cells.get((key, name), "") for name in sheet.column_keys]
        lines = [row, *_below(row, printed)] if any(printed) else [row]
        if i and (i in sheet.rules or max(before, len(lines)) > 1):
            out.rules.add(len(out.rows))
        before = len(lines)
        out.rows += lines
        out.row_keys += [key] * len(lines)
        out.records += _records(sheet, key, row, printed)
    return out


def _other(sheet: TableData, paper: Published) -> list[str]:
    """Warn where a table shows other networks than the paper's. Their differences stay in the records."""
    if others := sorted({str(record["preset"]) for record in sheet.records} - {paper.preset}):
        return [f"The paper's networks here are those of {paper.preset}; the differences to {', '.join(others)} are "
                "of other networks or data too."]  # fmt: skip
    return []


def _below(row: Sequence[TableCell], printed: Sequence[str]) -> list[list[TableCell]]:
    """Build the two rows with the published numbers and the differences."""
    theirs = [TableCell(tuple(text.split("/"))) if text else EMPTY_CELL for text in printed]
    return [
        [TableCell(("  published",)), *theirs],
        [TableCell(("  difference",)), *(_difference(*both) for both in zip(row[1:], theirs, strict=True))],
    ]


def _difference(ours: TableCell, theirs: TableCell) -> TableCell:
    """Subtract the published numbers from ours, part by part; an empty cell where the parts do not match."""
    if not ours.numbers or len(ours.values) != len(theirs.values):
        return EMPTY_CELL
    parts = [(float(mine), _number(his)) for mine, his in zip(ours.values, theirs.values, strict=True)]
    texts = (NO_NUMBER if his is None else f"{round(mine - his, 1) + 0.0:+.1f}" for mine, his in parts)
    return TableCell(tuple(texts))


def _number(text: str) -> float | None:
    """Parse a printed number; None for the sign that stands for no number."""
    return None if text == NO_NUMBER else float(text)


def _records(sheet: TableData, key: str, row: Sequence[TableCell], printed: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield a record for each number of a row."""
    for name, head, entry, text in zip(sheet.column_keys, sheet.head[1:], row[1:], printed, strict=True):
        parts = head.partition("\n")[2].split("/")
        theirs = [_number(part) for part in text.split("/")] if text else []
        for i in range(max(len(entry.numbers), len(theirs))):
            ours = entry.numbers[i] if i < len(entry.numbers) else None
            his = theirs[i] if i < len(theirs) else None
            yield {
                "table": sheet.title, "row": key, "title": row[0].text, "column": name,
                "part": parts[i] if i < len(parts) else "", "published": his, "ours": ours,
                "difference": None if ours is None or his is None else ours - his,
            }  # fmt: skip
