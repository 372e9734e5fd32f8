"""Prepare for the report what each student is worth beyond its score: fidelity, calibration, deployment."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kdbench.core.errors import UserError
from kdbench.reporting.provenance import traceable_rows
from kdbench.reporting.tables import TABLES, TableCell, TableData
from kdbench.results.study import StudyResults, task_title

TABLE_NAMES = ("fidelity", "calibration", "deploy")


@dataclass(frozen=True)
class StudentTable:
    """A table of one student: a row a task (of deployment, a task and a form)."""

    title: str
    head: Sequence[Sequence[str]]
    rows: Sequence[tuple[str, Sequence[TableCell]]]


@dataclass(frozen=True)
class StudentPage:
    """A student, or the teacher, with its tables."""

    title: str
    anchor: str
    tables: Sequence[StudentTable]


@dataclass(frozen=True)
class StudentPages:
    """All students of a study, and the notes of their tables by title."""

    pages: Sequence[StudentPage]
    notes: Sequence[tuple[str, Sequence[str]]]


def build_students(number: int, study: StudyResults) -> StudentPages:
    """Return a page for each row that has something to show.

    Args:
        number: of the study in the report.
    """
    sheets = {name: _sheets(name, study) for name in TABLE_NAMES if name in TABLES.all()}
    pages = []
    for row in traceable_rows(study):
        tables = [table for name, some in sheets.items() if (table := _table(name, some, row))]
        name = re.sub(r"[^\w.]+", "_", row)
        if tables:
            pages.append(StudentPage(study.title(row), f"student-{number}-{name}", tables))
    notes = [(TABLES.get(name).short_title(), _joined_notes(some)) for name, some in sheets.items() if some]
    return StudentPages(pages, notes)


def _joined_notes(sheets: Sequence[TableData]) -> list[str]:
    """Return the notes of the tables of all tasks, each once.

    One that is not below all of them begins with its tasks, unless it names them itself.
    """
    tasks: dict[str, list[str]] = {}
    for sheet in sheets:
        for note in sheet.notes:
            tasks.setdefault(note, []).append(task_title(str(sheet.records[0]["task"])) if sheet.records else "")
    whole = len(sheets)
    return [
        note if len(some) == whole or all(title in note for title in some) else f"{', '.join(some)}: {note}"
        for note, some in tasks.items()
    ]


def _sheets(name: str, study: StudyResults) -> list[TableData]:
    """Return the tables of one kind, one a task; [] where nothing was kept or measured."""
    try:
        return TABLES.get(name)().sheets([study])
    except UserError:
        return []


def _table(name: str, sheets: Sequence[TableData], row: str) -> StudentTable | None:
    """Collect the rows of one student from the tables of all tasks; None where it has no numbers."""
    found = []
    for sheet in sheets:
        task = task_title(str(sheet.records[0]["task"])) if sheet.records else ""
        for key, entries in zip(sheet.row_keys, sheet.rows, strict=True):
            own, _, form = key.partition(" ")
            if own == row and any(entry.numbers for entry in entries):
                label = f"{task}, {entries[0].text.strip()}" if form else task
                found.append((label, entries[1:]))
    if not found:
        return None
    return StudentTable(TABLES.get(name).short_title(), [head.split("\n") for head in sheets[0].head[1:]], found)
