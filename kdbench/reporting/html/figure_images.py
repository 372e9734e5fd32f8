"""Prepare the paper's figures for the report, for every task that has their runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from kdbench.reporting.figures import FIGURES, FigureData, Panel, TaskFigure
from kdbench.reporting.html.chart_data import Chart, make_chart, panel_data
from kdbench.reporting.show_figure import FigureChoice, build_figure, drawable_figures
from kdbench.reporting.study_choice import ChosenStudies
from kdbench.results.study import StudyResults, task_title


def paper_figures(prefix: str, study: StudyResults) -> tuple[list[Chart], list[str]]:
    """Return the charts of the figures that can be drawn, and a sentence about each figure that cannot.

    Args:
        prefix: begins the ids of the charts.
    """
    found: list[Chart] = []
    lacking: list[str] = []
    for name, kind in FIGURES.all().items():
        figure = kind()
        if isinstance(figure, TaskFigure):  # of scores and curves the page has charts of its own
            continue
        # one view for each task that has the runs
        built = {task: build_figure(figure, study, task) for task in study.tasks}
        drawn = {task: picture for task, picture in built.items() if isinstance(picture, FigureData)}
        views = {task: _view(picture) for task, picture in drawn.items()}
        tasks = {task: task_title(task) for task in drawn}
        one = make_chart(f"{prefix}-{name}", "panels", figure.title, "", {"Task": tasks}, views)
        # a figure without any is named with what it lacks
        if one:
            found.append(one)
        else:
            lacking.append(drawable_figures(figure, ChosenStudies([study]), FigureChoice())[1])
    return found, lacking


def _view(picture: FigureData) -> dict[str, Any]:
    """Convert a figure to plain numbers. Panels that share a scale get the same limits."""
    panels = list(picture.panels)
    if picture.share:  # what lies beside each other has one vertical scale
        rows = [panels[i : i + picture.columns] for i in range(0, len(panels), picture.columns)]
        panels = [replace(one, limits=one.limits or _range(row), y_label=row[0].y_label) for row in rows for one in row]
    notes = [*picture.notes, *picture.printed]
    return {"panels": [panel_data(one) for one in panels], "columns": picture.columns, "notes": notes}


def _range(row: Sequence[Panel]) -> tuple[float, float] | None:
    """Return the range of all curves with a margin of 5 %; None where there is no range."""
    values = [value for one in row for curve in one.curves for value in curve.mean if math.isfinite(value)]
    room = 0.05 * (max(values) - min(values)) if values else 0.0
    return (min(values) - room, max(values) + room) if room else None
