"""Figure pareto: score against latency and size, for every measured network and form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from kdbench.analysis import task_panels
from kdbench.analysis.deploy import Measured, form_score, measured_rows
from kdbench.planning.exhibits import Request
from kdbench.reporting.figures import Curve, FigureData, Panel, TaskFigure
from kdbench.reporting.formats import line_styles
from kdbench.results.deployment import FormRecord
from kdbench.results.study import StudyResults, task_title

AXES: dict[str, tuple[str, Callable[[FormRecord], float]]] = {
    "milliseconds": ("1 row, p50 (ms)", lambda form: 1000 * next(iter(form.latency.values())).p50),
    "megabytes": ("Size (MB)", lambda form: form.bytes / 1e6),
}


class FigurePareto(TaskFigure):
    """Two panels a task: score by latency, score by size. The forms of one network are joined."""

    title = "Figure pareto: score by latency and size"
    requests = (Request("all"),)
    lacking = "Figure pareto needs measured networks; where the runs are, run: kdbench measure"

    def build_panels(self, study: StudyResults, tasks: Sequence[str]) -> FigureData:
        rows = {task: found for task in tasks if (found := measured_rows(study, task))}
        if not rows:
            raise task_panels.lacking_rows(tasks, " that kdbench measure has measured")
        panels = [_panel(study, task, found, axis) for task, found in rows.items() for axis in AXES]
        shown = [one.line for found in rows.values() for one in found]
        told = [
            "One network a row; its forms (torch, ONNX, ONNX with 8-bit weights) are joined. Up and left is better."
        ]
        drawn = dict(zip(rows, panels[:: len(AXES)], strict=True))
        return replace(task_panels.panel_figure(self.title, study, drawn, shown, told), panels=panels,
                       columns=2, narrow=2)  # fmt: skip


def _panel(study: StudyResults, task: str, rows: Sequence[Measured], axis: str) -> Panel:
    """Return the scores of the rows against one axis."""
    label, number = AXES[axis]
    curves = []
    for row in rows:
        points = sorted((number(form), form_score(form)) for form in row.found.forms.values())
        xs, ys = zip(*points, strict=True)
        about = {"task": task, "row": row.line.row}
        look = line_styles.of_row(study, row.line.row)
        curves.append(Curve.over(axis, xs, row.line.title, look, {row.cell.cell.seed: ys}, about))
    return Panel("Score (%)", curves, task_title(task), x_title=label)
