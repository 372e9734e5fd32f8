"""Divide the curves of a figure among parts that stand below each other, where they are too many to be told apart."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

from kdbench.reporting.figures import FigureData

MOST = 8  # curves that can be told apart in one panel


def figure_parts(picture: FigureData) -> list[FigureData]:
    """Return the parts of a figure: all of its panels, each with some of the curves, and the others behind them.

    The parts have about equally many curves. References are in each of them. A figure of few curves is its only part.
    """
    labels = dict.fromkeys(curve.label for panel in picture.panels for curve in panel.curves if not curve.reference)
    always = {curve.label for panel in picture.panels for curve in panel.curves if curve.reference}
    if len(labels) + len(always) <= MOST:
        return [picture]
    every, count = list(labels), math.ceil(len(labels) / max(1, MOST - len(always)))
    ends = [len(every) * i // count for i in range(count + 1)]
    return [_part(picture, {*every[first:last], *always}) for first, last in itertools.pairwise(ends)]


def _part(picture: FigureData, labels: set[str]) -> FigureData:
    """Return the figure with these curves in front."""
    panels = [
        replace(
            panel,
            curves=[curve for curve in panel.curves if curve.label in labels],
            others=[curve for curve in panel.curves if curve.label not in labels],
        )
        for panel in picture.panels
    ]
    return replace(picture, panels=panels)
