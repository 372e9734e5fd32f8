"""A sheet with the published numbers beside ours, and the differences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from kdbench.tables import Entry, Place, Sheet

NONE = Entry(("–",))
NOTE = (
    "Published: as the paper prints them, of its own networks and of the test server; differences are ours minus "
    "published, of numbers as printed."
)


def beside(sheet: Sheet, published: Mapping[Place, str]) -> Sheet:
    """Below every row that the paper has too: its numbers, and how far ours are from them.

    Records become one a printed number: published, ours (unrounded, the mean over seeds), and the difference.
    """
    out = replace(sheet, rows=[], rules=set(), notes=[*sheet.notes, NOTE], records=[], row_keys=[])
    for i, (key, row) in enumerate(zip(sheet.row_keys, sheet.rows, strict=True)):
        papers = [published.get((key, name), "") for name in sheet.column_keys]
        lines = [row]
        if any(papers):
            lines.append([Entry(("  published",)), *(Entry(tuple(p.split("/"))) if p else NONE for p in papers)])
            lines.append([Entry(("  difference",)), *map(_difference, row[1:], papers)])
        if i and (i in sheet.rules or len(lines) > 1):
            out.rules.add(len(out.rows))
        out.rows += lines
        out.row_keys += [key] * len(lines)
        out.records += _records(sheet, key, row, papers)
    return out


def _difference(ours: Entry, paper: str) -> Entry:
    both = _pairs(ours, paper)
    return Entry(tuple(f"{_number(mine) - _number(his):+.1f}" for mine, his in both)) if both else NONE


def _pairs(ours: Entry, paper: str) -> list[tuple[str, str]]:
    """Our number and the paper's, where both are there and of one kind."""
    his = paper.split("/") if paper else []
    same = ours.numbers and len(his) == len(ours.values)
    return list(zip(ours.values, his, strict=True)) if same else []


def _number(text: str) -> float:
    return float(text.replace("−", "-"))


def _records(sheet: Sheet, key: str, row: list[Entry], papers: Iterable[str]) -> Iterable[dict[str, Any]]:
    """One a number of a row."""
    columns = zip(sheet.column_keys, sheet.head[1:], row[1:], papers, strict=True)
    for name, head, entry, paper in columns:
        parts = head.partition("\n")[2].split("/")
        his = paper.split("/") if paper else []
        for i in range(max(len(entry.numbers), len(his))):
            ours = entry.numbers[i] if i < len(entry.numbers) else None
            printed = _number(his[i]) if i < len(his) else None
            yield {
                "table": sheet.title, "row": key, "title": row[0].text, "column": name,
                "part": parts[i] if i < len(parts) else "", "published": printed, "ours": ours,
                "difference": None if ours is None or printed is None else ours - printed,
            }  # fmt: skip
