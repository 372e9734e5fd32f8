"""Figure curves: selection scores over training, for every row of a study."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from kdbench.analysis import curves, task_panels
from kdbench.analysis.metric_labels import short_metric
from kdbench.data.task_registry import TASKS
from kdbench.planning.exhibits import Request
from kdbench.reporting.figures import Curve, FigureData, Panel, TaskFigure
from kdbench.reporting.formats import line_styles
from kdbench.results.selection import SelectedRow
from kdbench.results.study import TEACHER, StudyResults, task_title

FAR = 3  # times the range of the middle half of the scores, and a point
ROOM = 0.05  # of the range of the scores, above and below


class FigureCurves(TaskFigure):
    """One panel a task: means over seeds, with a band of one standard deviation."""

    title = "Figure curves: selection score over training"
    requests = (Request("all"),)

    def build_panels(self, study: StudyResults, tasks: Sequence[str]) -> FigureData:
        shown, panels, lost = task_panels.shown_rows(study, tasks), dict[str, Panel](), list[str]()
        # a panel for each task that has series
        for task in tasks:
            metric = TASKS.get(task).metrics[0]
            drawn = list[Curve]()
            # a curve for each row, without the seeds that have no scores
            for line in shown:
                read = curves.selection_reader(metric)
                cells = [cell for cell in line.shown[task] if read(cell)]
                lost += [cell.run.id for cell in line.shown[task] if cell not in cells]
                if cells:
                    kept, look = replace(line, shown={task: cells}), line_styles.of_row(study, line.row)
                    one = curves.make_curve(kept, task, look, read, factor=100.0, metric=metric)
                    about = {"task": task, **one.about}
                    drawn.append(replace(one, about=about, reference=line.row == TEACHER))
            if drawn:
                title = f"{task_title(task)}, {short_metric(metric)}"
                panels[task] = Panel("Selection score (%)", drawn, title, limits=score_limits(drawn), by_step=True)
        if not panels:
            raise task_panels.lacking_rows(tasks, " with scores in its series", lost=bool(shown))
        return task_panels.panel_figure(
            self.title, study, panels, shown, _first([line.on(panels) for line in shown], panels.values(), lost)
        )


def score_limits(drawn: Sequence[Curve]) -> tuple[float, float] | None:
    """Return axis limits that leave out scores far below all others, such as of a first stage; None without such.

    Such scores would press all other curves into one line.
    """
    means = np.array([value for curve in drawn for value in curve.mean if math.isfinite(value)])
    if not means.size:
        return None
    first, third = np.quantile(means, [0.25, 0.75])
    low = float(first - FAR * (third - first + 1))
    kept = means[means >= low]
    room = ROOM * float(kept.max() - kept.min() + 1)
    return (float(kept.min()) - room, float(kept.max()) + room) if len(kept) < len(means) else None


def _below(panels: Iterable[Panel]) -> list[str]:
    """Name the curves that leave their panel, with their lowest scores."""
    lowest = [
        (panel, curve, min(filter(math.isfinite, curve.mean), default=math.inf))
        for panel in panels if panel.limits for curve in panel.curves
    ]  # fmt: skip
    found = [
        f"{curve.label} on {panel.title.partition(',')[0]} (from {low:.1f})"
        for panel, curve, low in lowest if panel.limits and low < panel.limits[0]
    ]  # fmt: skip
    return [f"Beyond the lower edge of the panel: {'; '.join(found)}."] if found else []


def _first(shown: Sequence[SelectedRow], panels: Iterable[Panel], lost: Sequence[str]) -> list[str]:
    """Return the notes that say what is drawn."""
    start = "The first metric of a task on the split that selects checkpoints, at each evaluation after step 0."
    return [
        start,
        *curves.band_notes(shown),
        *_below(panels),
        *([f"Left out, for their series have no scores: {', '.join(lost)}."] if lost else []),
    ]
