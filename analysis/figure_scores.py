"""Figure scores: scores with 95 % intervals, for every row of a study."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from kdbench.analysis import task_panels
from kdbench.analysis.metric_labels import part_names
from kdbench.core.errors import UserError
from kdbench.data.task_registry import TASKS
from kdbench.planning.exhibits import Request
from kdbench.reporting import notes, provenance
from kdbench.reporting.figures import Estimate, FigureData, Panel, TaskFigure
from kdbench.reporting.formats import line_styles
from kdbench.results.comparison import BOOTSTRAP, mean_score, scale_interval
from kdbench.results.selection import SelectedRow
from kdbench.results.study import StudyResults, task_title

WHAT = "Marks: mean over seeds, of the numbers of a table's cell; white dots: the seeds{}."
ONE_SEED = "Marks: the mean of the numbers of a table's cell, of one seed."
INTERVALS = (
    f"Bars: 95 % intervals; the error counts both items, {BOOTSTRAP}, and seeds, by their sample variance with "
    "Student's t. Rows share their items, so bars that overlap may still be separable: tables and kdbench compare "
    "pair the rows."
)
FAR = 5  # times the range of the middle half of the rows, and a point
GAP = 0.5  # points between the end of a bar and the edge of its panel


class FigureScores(TaskFigure):
    """One panel a task, with a line for each row."""

    title = "Figure scores: scores with intervals"
    requests = (Request("all"),)

    def build_panels(self, study: StudyResults, tasks: Sequence[str]) -> FigureData:
        shown, panels = task_panels.shown_rows(study, tasks), dict[str, Panel]()
        for task in tasks:
            rows = [_row(study, line, task) for line in shown if line.shown[task]]
            if rows:
                kind = TASKS.get(task)
                title = f"{kind.title}, {'/'.join(part_names(kind))}"
                panels[task] = Panel("Score (%)", title=title, estimates=rows, limits=_limits(rows))
        if not panels:
            raise task_panels.lacking_rows(tasks)
        return task_panels.panel_figure(self.title, study, panels, shown, _notes(panels, shown))


def _row(study: StudyResults, line: SelectedRow, task: str) -> Estimate:
    """Return mean, interval and seeds of a row on a task, in per cent."""
    cells, kind = line.shown[task], TASKS.get(task)()
    seeds = {cell.cell.seed: provenance.mean_run_score(cell) for cell in cells}
    interval: tuple[float, float] | None
    try:
        interval = scale_interval(kind, mean_score(kind, cells))
    except UserError:  # no predictions were kept; a note says so
        interval = None
    about = {"task": task, "row": line.row, "runs": " ".join(cell.run.id for cell in cells)}
    look = line_styles.of_row(study, line.row)
    return Estimate(line.title, look, seeds, statistics.fmean(seeds.values()), interval, about)


def _limits(rows: Sequence[Estimate]) -> tuple[float, float]:
    """Return axis limits that hold the seeds and leave room for the bars: their range again to each side, and 3 points.

    Two or three seeds have few degrees of freedom; their bars would leave nothing else to see. The same holds for a row
    that is far from all others, such as one whose training has failed: its mean may lie beyond the limits.
    """
    means = np.array([row.mean for row in rows])
    first, middle, third = np.quantile(means, [0.25, 0.5, 0.75])
    near = [row for row in rows if abs(row.mean - middle) <= FAR * (third - first + 1)]
    values = [value for row in near for value in row.seeds.values()]
    low, high = min(values), max(values)
    room = high - low + 3
    ends = [end for row in near for end in row.interval or ()]
    # a bar that ends within the panel does not touch its edge
    first, last = min([low - 1, *(end - GAP for end in ends)]), max([high + 1, *(end + GAP for end in ends)])
    return max(first, low - room), min(last, high + room)


def _notes(panels: dict[str, Panel], shown: Sequence[SelectedRow]) -> list[str]:
    """Explain the marks and the bars, and name rows without a bar."""
    bare = [
        f"{row.label} on {task_title(task)}"
        for task, panel in panels.items() for row in panel.estimates if row.interval is None
    ]  # fmt: skip
    whole = sum(len(panel.estimates) for panel in panels.values()) > len(bare)
    counts = {len(cells) for line in shown for cells in line.shown.values() if cells}
    single = 1 in counts
    return [
        ONE_SEED if counts == {1} else WHAT.format(", where there are several" if single else ""),
        *([INTERVALS + (notes.ONE_SEED if single else "")] if whole else []),
        *task_panels.edge_notes(panels.values()),
        *([f"No interval, for want of predictions: {'; '.join(bare)}."] if bare else []),
    ]
