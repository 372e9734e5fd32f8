"""Figure reliability: accuracy against confidence, for every row of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from kdbench.analysis.confidence_panels import IDEAL, ConfidenceFigure
from kdbench.reporting.figures import Curve, LineStyle
from kdbench.results.calibration import BINS, Confidences, equal_mass_bins, reliability
from kdbench.results.selection import SelectedRow

CONFIDENCE = "confidence"


class FigureReliability(ConfidenceFigure):
    """The reliability diagram (DeGroot & Fienberg 1983; Guo et al. 2017, Figure 1), its bins of equal mass."""

    title = "Figure reliability: accuracy by confidence"
    labels = ("Confidence (%)", "Accuracy (%)")

    def curve(self, seeds: Mapping[int, Confidences], label: str, look: LineStyle, about: Mapping[str, str]) -> Curve:
        pooled = Confidences.together(list(seeds.values()))
        confidence, accuracy = reliability(pooled, equal_mass_bins(pooled.confidence))
        return Curve.over(CONFIDENCE, 100 * confidence, label, look, {min(seeds): 100 * accuracy}, about)

    def ideal(self) -> list[Curve]:
        ideal = Curve.over(CONFIDENCE, (0.0, 100.0), "calibrated", IDEAL, {0: (0.0, 100.0)}, {})
        return [replace(ideal, reference=True)]

    def notes(self, shown: Sequence[SelectedRow]) -> list[str]:
        return [
            f"Accuracy by the probability of the predicted class, in {BINS} bins of equal mass, the items of all seeds "
            "together. Below the diagonal a network is too sure of itself. Raw logits, no temperature."
        ]  # fmt: skip
