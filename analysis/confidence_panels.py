"""The base of the figures of confidence: a panel a task, a curve for each row that kept logits."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from kdbench.analysis import task_panels
from kdbench.data.task_registry import TASKS
from kdbench.planning.exhibits import Request
from kdbench.reporting.figures import Curve, FigureData, LineStyle, Panel, TaskFigure
from kdbench.reporting.formats import line_styles
from kdbench.results.calibration import Confidences, confidences, log_probabilities
from kdbench.results.item_outputs import student_outputs
from kdbench.results.selection import SelectedRow
from kdbench.results.study import TEACHER, StudyResults, task_title

IDEAL = LineStyle("#777777", ":", "")  # what a perfect network would do


class ConfidenceFigure(TaskFigure):
    """Rows whose runs kept logits. Items of all reported splits count together."""

    title = ""  # a base, not a figure
    requests = (Request("all"),)
    labels: ClassVar[tuple[str, str]]  # of the horizontal and the vertical axis

    @abstractmethod
    def curve(self, seeds: Mapping[int, Confidences], label: str, look: LineStyle, about: Mapping[str, str]) -> Curve:
        """Return the curve of a row from the confidences of each seed."""

    @abstractmethod
    def notes(self, shown: Sequence[SelectedRow]) -> list[str]:
        """Return the notes that say what is drawn."""

    def ideal(self) -> list[Curve]:
        """Return curves to compare with."""
        return []

    def limits(self, drawn: Sequence[Curve]) -> tuple[float, float] | None:
        """Return limits of the vertical axis; None leaves them to the curves and their bands."""
        return None

    def build_panels(self, study: StudyResults, tasks: Sequence[str]) -> FigureData:
        shown, panels, bare = task_panels.shown_rows(study, tasks), dict[str, Panel](), list[str]()
        for task in tasks:
            drawn, without = list[Curve](), list[str]()
            for line in (line for line in shown if line.shown[task]):
                seeds, all_seeds = _confidences(line, task), len(line.shown[task])
                if seeds:
                    if len(seeds) < all_seeds:
                        missing = f"{all_seeds - len(seeds)} of {all_seeds} seeds"
                        bare.append(f"{line.title} on {task_title(task)}, {missing}")
                    about = {"task": task, "row": line.row}
                    one = self.curve(seeds, line.title, line_styles.of_row(study, line.row), about)
                    drawn.append(replace(one, reference=line.row == TEACHER))
                else:
                    without.append(line.title)
            if without:
                every = not drawn and len(without) > 1
                bare.append(f"{'all rows' if every else ', '.join(without)} on {task_title(task)}")
            if drawn:
                x, y = self.labels
                panels[task] = Panel(y, [*self.ideal(), *drawn], task_title(task), limits=self.limits(drawn), x_title=x)
        if not panels:
            raise task_panels.lacking_rows(tasks, " with logits", lost=bool(shown))
        told = self.notes([line.on(panels) for line in shown]) + (
            [f"Left out, for want of logits: {'; '.join(bare)}."] if bare else []
        )
        return task_panels.panel_figure(self.title, study, panels, shown, told)


def _confidences(line: SelectedRow, task: str) -> dict[int, Confidences]:
    """Return the confidences of each seed; a seed without logits is left out, and so is every seed of a regression."""
    kind = TASKS.get(task)
    found = {}
    for cell in line.shown[task] if len(kind.labels) > 1 else ():
        splits = [student_outputs(cell.run, split) for split in kind.report_splits]
        known = [
            confidences(log_probabilities(one.logits), one.labels) for one in splits if one and one.logits is not None
        ]
        if len(known) == len(splits):
            found[cell.cell.seed] = Confidences.together(known)
    return found
