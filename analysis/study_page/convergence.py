"""Show whether fine-tuning has converged: its score at the end of each epoch."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from kdbench.analysis import curves
from kdbench.analysis.study_page.contrasts import UNIT, StudyContrasts
from kdbench.analysis.study_page.text_table import text_table
from kdbench.core.formatting import signed
from kdbench.data.task_registry import TASKS
from kdbench.results.study import task_title

NOTE = "First metric of the task on the split that selects checkpoints, in per cent; mean over the seeds."


def convergence_words(contrasts: StudyContrasts, row: str) -> str:
    """Return a row's scores epoch by epoch as a Markdown table, and what the last epoch changes; "" without scores."""
    found = {task: scores for task in contrasts.tasks if (scores := epoch_scores(contrasts, row, task))}
    if not found:
        return ""
    epochs = range(1, max(map(max, found.values())) + 1)
    shown = [
        (task_title(task), *(f"{scores[epoch]:.1f}" if epoch in scores else "–" for epoch in epochs))
        for task, scores in found.items()
    ]
    table = text_table([f"Epoch {epoch}" for epoch in epochs], shown, [NOTE])
    changes = {task: scores[max(scores)] - scores[max(scores) - 1] for task, scores in found.items() if len(scores) > 1}
    listed = ", ".join(f"{signed(change)} {UNIT} on {task_title(task)}" for task, change in changes.items())
    title = contrasts.title(row)
    last = f"Long enough? On the selection split, the last epoch changes {title} by {listed}."
    told = last if changes else f"{title} trains for one epoch."
    return f"{told}\n\n{table}"


def epoch_scores(contrasts: StudyContrasts, row: str, task: str) -> Mapping[int, float]:
    """Return epoch -> the row's mean selection score at its end, over the seeds; empty where none is recorded."""
    read = curves.trained_series_reader("selection", TASKS.get(task).metrics[0])
    of_seeds = [points for cell in contrasts.cells(row, task) if (points := read(cell))]
    by_epoch = dict[int, list[float]]()
    for points in of_seeds:
        for epoch, score in points.values():
            if epoch == round(epoch):
                by_epoch.setdefault(round(epoch), []).append(100 * curves.stored_number(score))
    return {epoch: statistics.fmean(some) for epoch, some in by_epoch.items() if len(some) == len(of_seeds)}
