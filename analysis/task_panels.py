"""What the figures that any study has share: the rows of Table 1, panels by task, and the notes below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from kdbench.analysis import curves
from kdbench.reporting import notes
from kdbench.reporting.figures import FigureData, Panel
from kdbench.reporting.provenance import rows
from kdbench.results.selection import Line, pick
from kdbench.results.study import StudyResults

PAGE, COLUMN = 3, 2  # panels beside each other, at most


def shown_rows(study: StudyResults, tasks: Sequence[str]) -> list[Line]:
    """The rows of Table 1 that have a finished run on one of the tasks."""
    picked = [pick(study, row) for row in rows(study)]
    narrowed = [
        replace(line, asked={t: line.asked[t] for t in tasks}, shown={t: line.shown[t] for t in tasks})
        for line in picked
    ]
    return [line for line in narrowed if any(line.shown.values())]


def picture(
    title: str, study: StudyResults, panels: dict[str, Panel], shown: Sequence[Line], first: Sequence[str]
) -> FigureData:
    """Panels beside each other, as many as fit.

    Args:
        panels: by task.
        first: the notes that say what is drawn.
    """
    told = [*first, *curves.remarks(study, shown, band=False)]
    about: dict[str, Any] = curves.about(study, ",".join(panels))
    columns, narrow = min(PAGE, len(panels)), min(COLUMN, len(panels))
    return FigureData(title, list(panels.values()), columns, narrow, told, notes.evidence(study), about)
