"""Figure curves: selection scores over training, for every row of Table 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kdbench.analysis import curves, task_panels
from kdbench.analysis.metric_labels import short_metric
from kdbench.data.task_registry import TASKS
from kdbench.planning.exhibits import Request
from kdbench.reporting.figures import Curve, FigureData, Panel, TaskFigure
from kdbench.reporting.formats import line_styles
from kdbench.results.selection import SelectedRow
from kdbench.results.study import StudyResults, task_title


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
                    drawn.append(replace(one, about={"task": task, **one.about}))
            if drawn:
                title = f"{task_title(task)}, {short_metric(metric)}"
                panels[task] = Panel("Selection score (%)", drawn, title, by_step=True)
        if not panels:
            raise task_panels.lacking_rows(tasks, " with scores in its series", lost=bool(shown))
        return task_panels.panel_figure(
            self.title, study, panels, shown, _first([line.on(panels) for line in shown], lost)
        )


def _first(shown: Sequence[SelectedRow], lost: Sequence[str]) -> list[str]:
    """Return the notes that say what is drawn."""
    start = "The first metric of a task on the split that selects checkpoints, at each evaluation after step 0."
    return [
        start,
        *curves.band_notes(shown),
        *([f"Left out, for their series have no scores: {', '.join(lost)}."] if lost else []),
    ]
