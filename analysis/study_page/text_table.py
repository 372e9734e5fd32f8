"""Write a Markdown table of texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kdbench.reporting.formats.text import markdown
from kdbench.reporting.tables import TableCell, TableData

MIXED = "Rows over different tasks are not to be compared with each other."


def bullets(items: Iterable[str]) -> str:
    """Return a Markdown list of the texts that are not empty."""
    return "\n".join(f"- {item}" for item in items if item)


def with_details(sentence: str, *details: str) -> str:
    """Return a sentence and the details that are not empty, as a Markdown list below."""
    return "\n\n".join(filter(None, (sentence, bullets(details))))


def text_table(heads: Sequence[str], rows: Iterable[Sequence[str]], notes: Sequence[str] = ()) -> str:
    """Return a table without a title, its notes below.

    Args:
        heads: of all columns but that of the labels.
        rows: each begins with its label.
    """
    sheet = TableData("", ["", *heads], [[TableCell((text,)) for text in row] for row in rows], notes=list(notes))
    return markdown(sheet).partition("\n\n")[2]
