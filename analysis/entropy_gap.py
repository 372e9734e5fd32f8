"""The base of Figures 5 and 6: the entropy gap over training, for one method in several settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from kdbench.analysis import curves
from kdbench.analysis.published import PAPER_METHOD
from kdbench.reporting import notes
from kdbench.reporting.figures import Figure, FigureData, Panel
from kdbench.reporting.formats import line_styles
from kdbench.results.study import StudyResults, task_title


class GapFigure(Figure):
    """One panel with a line for each setting.

    Class attributes:
        row: the row of tables whose runs are drawn.
        settings: label in the legend -> the options of the line.
        remarks: what the notes say of the settings.
    """

    title = ""  # a base, not a figure
    row: ClassVar[str] = PAPER_METHOD
    settings: ClassVar[Mapping[str, Mapping[str, Any]]]
    remarks: ClassVar[Sequence[str]] = ()

    def build(self, study: StudyResults, task: str) -> FigureData:
        read = curves.series_reader("probe", "entropy_gap")
        every = curves.setting_lines(study, task, self.row, self.settings)
        shown, left_out = curves.drop_incomplete_seeds(every, task, {"entropy gap": read})
        drawn = [
            curves.make_curve(line, task, look, read, label=label)
            for label, line, look in zip(
                self.settings, shown, line_styles.of_settings(study, self.row, len(shown)), strict=True
            )
        ]
        first = f"{task_title(task)}, rows of train: mean H(student) - H(teacher); above 0 the teacher is surer."
        panel = Panel("Entropy gap (nats)", drawn, rule=0.0)
        told = [*curves.figure_notes(study, shown, first, equal=True), *self.remarks, *left_out]
        return FigureData(
            self.title, [panel], 1, 1, told, notes.evidence_notes(study), curves.figure_origin(study, task)
        )
