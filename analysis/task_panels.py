"""The base of the figures for any study: its rows, a panel a task, and the notes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from kdbench.analysis import curves
from kdbench.reporting import notes
from kdbench.reporting.figures import FigureData, Lacking, Panel
from kdbench.reporting.formats.figure_parts import figure_parts
from kdbench.reporting.learning_notes import still_learning_notes
from kdbench.reporting.provenance import traceable_rows
from kdbench.results.selection import SelectedRow, select_row
from kdbench.results.study import StudyResults, task_title

PAGE, COLUMN = 3, 2  # panels beside each other, at most


def shown_rows(study: StudyResults, tasks: Sequence[str]) -> list[SelectedRow]:
    """Return the rows that have a finished run on one of the tasks, the teacher first."""
    return [line for row in traceable_rows(study) if (line := select_row(study, row).on(tasks)).cells]


def lacking_rows(tasks: Sequence[str], what: str = "", *, lost: bool = False) -> Lacking:
    """Build the error of a figure without anything to draw.

    Args:
        what: what the rows must have.
        lost: see `Lacking`.
    """
    return Lacking(f"any row on {' or '.join(map(task_title, tasks))}{what}", lost=lost)


def edge_notes(panels: Iterable[Panel]) -> list[str]:
    """Say that bars go on, where one reaches beyond its panel, and name the rows whose mean lies beyond it."""
    bars, outside = False, list[str]()
    for panel in panels:
        low, high = panel.limits or (-math.inf, math.inf)
        for row in panel.estimates:
            bars |= row.interval is not None and (row.interval[0] < low or row.interval[1] > high)
            if not low <= row.mean <= high:
                seeds = ", ".join(f"{value:.1f}" for value in row.seeds.values())
                outside.append(f"{row.label} on {panel.title.partition(',')[0]} ({seeds})")
    return [
        *(["A bar that reaches the edge of its panel goes on."] if bars else []),
        *([f"Beyond its panel, at the arrow: {'; '.join(outside)}."] if outside else []),
    ]


def panel_figure(
    title: str, study: StudyResults, panels: dict[str, Panel], shown: Sequence[SelectedRow], first: Sequence[str]
) -> FigureData:
    """Arrange panels side by side, as many as fit.

    Args:
        panels: by task, or by the tasks of a panel, joined by commas; notes are about these tasks alone.
        first: the notes that say what is drawn.
    """
    tasks = ",".join(panels).split(",")
    lines = [line.on(tasks) for line in shown]
    told = [*first, *curves.figure_notes(study, lines, band=False), *still_learning_notes(lines)]
    about: dict[str, Any] = curves.figure_origin(study, ",".join(panels))
    columns, narrow = min(PAGE, len(panels)), min(COLUMN, len(panels))
    printed = notes.evidence_notes(study.on(tasks))
    picture = FigureData(title, list(panels.values()), columns, narrow, told, printed, about)
    if (count := len(figure_parts(picture))) > 1:
        told.insert(len(first), f"The rows are divided among {count} parts; pale lines: the rows of the other parts.")
    return picture
