"""Figure confusion: which classes a row takes for which, a figure for each row and task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kdbench.analysis import task_panels
from kdbench.core.formatting import count
from kdbench.data.task_registry import TASKS
from kdbench.planning.exhibits import Request
from kdbench.reporting.figures import FigureData, Lacking, Matrix, Panel, TaskFigure
from kdbench.results.item_outputs import student_outputs
from kdbench.results.selection import SelectedRow
from kdbench.results.study import TEACHER, StudyResults, task_title

MOST = 12  # figures that are drawn at once
NAMED = 5  # confusions that a note names


class FigureConfusion(TaskFigure):
    """Counts of true and predicted classes, summed over seeds and reported splits."""

    title = "Figure confusion: true and predicted classes"
    requests = (Request("all"),)

    def build_panels(self, study: StudyResults, tasks: Sequence[str]) -> FigureData:
        return self.build_figures(study, tasks)[0]

    def build_figures(self, study: StudyResults, tasks: Sequence[str]) -> list[FigureData]:
        shown = task_panels.shown_rows(study, tasks)
        lines = [line for line in shown if line.row != TEACHER or study.takes(TEACHER)]
        done = [(line, task) for line in lines for task in tasks if line.shown[task]]
        found = [(line, task, matrix) for line, task in done if (matrix := count_classes(line, task))]
        if not found:
            raise task_panels.lacking_rows(tasks, " with predictions", lost=bool(lines))
        if len(found) > MOST:
            raise Lacking("", sentence=(
                f"Figure confusion is a file for each row and task, here {len(found)}; choose at most {MOST} with "
                f"--methods ({', '.join(line.row for line in lines)}) and --tasks ({', '.join(tasks)})."
            ))  # fmt: skip
        drawn = [(line.row, task) for line, task, _ in found]
        bare = [f"{line.title} on {task_title(task)}" for line, task in done if (line.row, task) not in drawn]
        lost = [f"Left out, for a seed without predicted classes: {', '.join(bare)}."] if bare else []
        return [self._figure(study, line, task, matrix, lost) for line, task, matrix in found]

    def _figure(
        self, study: StudyResults, line: SelectedRow, task: str, matrix: Matrix, lost: Sequence[str]
    ) -> FigureData:
        panel = Panel(
            "True class", title=f"{line.title} on {task_title(task)}", matrix=matrix, x_title="Predicted class"
        )
        drawn = task_panels.panel_figure(
            self.title, study, {task: panel}, [line], [*_notes(matrix, len(line.shown[task])), *lost]
        )
        return replace(drawn, about={**drawn.about, "row": line.row})


def count_classes(line: SelectedRow, task: str) -> Matrix | None:
    """Count the true and predicted classes of a row's seeds; None where a seed kept no predictions, or of numbers."""
    kind = TASKS.get(task)
    splits = [student_outputs(cell.run, split) for cell in line.shown[task] for split in kind.report_splits]
    if not splits or None in splits:
        return None
    counts = np.zeros((len(kind.labels), len(kind.labels)), np.int64)
    for one in filter(None, splits):
        np.add.at(counts, (one.labels, one.classes), 1)
    return Matrix(line.title, tuple(map(str, kind.labels)), tuple(tuple(map(int, row)) for row in counts))


def _notes(matrix: Matrix, seeds: int) -> list[str]:
    """Say what is counted, and name the most frequent confusions."""
    size, counts = range(len(matrix.labels)), matrix.counts
    wrong = [(counts[i][j], matrix.shares[i][j], i, j) for i in size for j in size if i != j and counts[i][j]]
    wrong.sort(key=lambda one: (-one[0], one[2:]))
    words = [
        f"{matrix.labels[i]} taken for {matrix.labels[j]} {number:,} ({100 * share:.1f} %)"
        for number, share, i, j in wrong[:NAMED]
    ]
    over = f"summed over {count(seeds, 'seed')}" if seeds > 1 else "of one seed"
    return [
        f"Items by true class (rows) and predicted class (columns), {over}; colours (on a scale by their root) and "
        "per cent in brackets are shares of the true class.",
        *([f"Most frequent confusions: {'; '.join(words)}."] if words else ["No item is taken for another class."]),
    ]
