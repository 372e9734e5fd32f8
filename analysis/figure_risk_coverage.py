"""Figure risk-coverage: errors among the most confident answers, for every row of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from kdbench.analysis import curves
from kdbench.analysis.confidence_panels import ConfidenceFigure
from kdbench.reporting.figures import Curve, LineStyle
from kdbench.results.calibration import Confidences, risk_at
from kdbench.results.selection import SelectedRow

COVERAGES = np.linspace(0.05, 1.0, 20)


class FigureRiskCoverage(ConfidenceFigure):
    """The risk-coverage curve (El-Yaniv & Wiener 2010; Geifman & El-Yaniv 2017)."""

    title = "Figure risk-coverage: errors among the most confident answers"
    labels = ("Coverage (%)", "Errors (%)")

    def curve(self, seeds: Mapping[int, Confidences], label: str, look: LineStyle, about: Mapping[str, str]) -> Curve:
        risks = {seed: 100 * risk_at(found, COVERAGES) for seed, found in seeds.items()}
        return Curve.over("coverage", 100 * COVERAGES, label, look, risks, about)

    def limits(self, drawn: Sequence[Curve]) -> tuple[float, float]:
        """Leave out the part of a band that is below 0, as no share of errors is."""
        return 0.0, 1.05 * max(float(np.add(one.mean, one.spread or 0.0).max()) for one in drawn)

    def notes(self, shown: Sequence[SelectedRow]) -> list[str]:
        return [
            "Errors among the items with the most probable predicted class; the others are left to somebody else.",
            *curves.band_notes(shown),
        ]
