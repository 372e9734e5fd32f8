"""Choose how a table stands in a document: its caption and label in LaTeX, and how many of its notes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kdbench.core.errors import UserError, check_known
from kdbench.reporting.tables import Detail

NOTES = ("full", "short", "none")
LABEL = re.compile(r"[A-Za-z0-9:._/+-]+")  # what every LaTeX package that reads labels takes
BARE_COMMENT = re.compile(r"(?<!\\)(?:\\\\)*%")
ESCAPED = re.compile(r"\\.", re.DOTALL)


@dataclass(frozen=True)
class Presentation:
    """Hold what the user says of a table's caption, label and notes.

    Attributes:
        caption: LaTeX of the user's own, not escaped; None is the table's title.
        label: for LaTeX's \\ref; None is no label.
        notes: one of `NOTES`.
    """

    caption: str | None = None
    label: str | None = None
    notes: str = NOTES[0]

    def check(self, form: str) -> None:
        """Hold the options against the format.

        Raises:
            UserError: an option that the format has no place for, or a caption or label that would not compile.
        """
        check_known("kind of notes", [self.notes], NOTES)
        if form != "latex" and (
            given := [f"--{key}" for key in ("caption", "label") if getattr(self, key) is not None]
        ):
            raise UserError(f"Only LaTeX has {' and '.join(given)}; give --format latex or --out FILE.tex, not {form}.")
        if form == "csv" and self.notes != NOTES[0]:
            raise UserError("CSV has no notes; leave out --notes, or give --format terminal, markdown, latex or json.")
        if self.label is not None and not LABEL.fullmatch(self.label):
            raise UserError(f"--label '{self.label}' is no label: use letters, digits and : . _ / + -, as in tab:main.")
        if self.caption is not None and (problem := _problem(self.caption)):
            raise UserError(f"--caption is LaTeX and {problem}.")

    def numbered(self, place: int, count: int) -> Presentation:
        """Return the presentation of one of several tables: no two have the same label.

        Raises:
            UserError: one caption for several tables.
        """
        if count == 1:
            return self
        if self.caption is not None:
            raise UserError(
                f"--caption is for one table, and there are {count}; choose one with its number and --preset NAME, or "
                "leave --caption out: each table then names its study."
            )
        return replace(self, label=self.label and f"{self.label}-{place}")

    def divide(self, notes: Sequence[str]) -> tuple[list[str], list[str]]:
        """Divide notes into those that are printed and those that are left out."""
        kept = [
            note for note in notes if self.notes == "full" or (self.notes == "short" and not isinstance(note, Detail))
        ]
        return kept, [note for note in notes if note not in kept]


def _problem(caption: str) -> str:
    """Return why a caption would not compile, or would swallow what follows it; "" where it seems sound."""
    if not caption.strip():
        return "is empty; leave it out for the table's title"
    if BARE_COMMENT.search(caption):
        return r"has a % that begins a comment; write \%"
    if re.search(r"\n\s*\n", caption):
        return "has an empty line, which a caption cannot have"
    depth = 0
    for sign in ESCAPED.sub("", caption):
        depth += (sign == "{") - (sign == "}")
        if depth < 0:
            break
    return r"has braces that do not match (a brace that is printed is \{ or \})" if depth else ""


PLAIN = Presentation()
