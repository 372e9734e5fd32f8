"""Show whether the students have converged: scores at the end of each epoch, and what the last epoch brings."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from kdbench.analysis import curves
from kdbench.analysis.study_page.contrasts import StudyContrasts
from kdbench.analysis.study_page.text_table import text_table
from kdbench.core.formatting import signed
from kdbench.data.task_registry import TASKS
from kdbench.distill.method import Method
from kdbench.distill.method_registry import METHODS
from kdbench.reporting.learning_notes import best_at_end
from kdbench.results.study import task_title

MOST_NAMED = 3  # rows on a task
NOTES = (
    "First metric of the task on the split that selects checkpoints, in per cent; mean over the seeds.",
    "Best at the end: runs of all rows whose last evaluation is the best one. Last epoch, changed most: in points.",
)


def convergence_table(contrasts: StudyContrasts, row: str) -> str:
    """Return a row's scores epoch by epoch as a Markdown table, and what the last epoch changes; "" without scores.

    Of all rows the runs are counted that are best at the end, and the rows named that the last epoch changes most.
    """
    found = {task: scores for task in contrasts.tasks if (scores := epoch_scores(contrasts, row, task))}
    if not found:
        return ""
    epochs = range(1, max(map(max, found.values())) + 1)
    rows = []
    for task, scores in found.items():
        by_epoch = (f"{scores[epoch]:.1f}" if epoch in scores else "–" for epoch in epochs)
        rows.append((task_title(task), *by_epoch, *_last_epoch(contrasts, scores, task)))
    staged = ", ".join(contrasts.title(name) for name in contrasts.rows if _has_stages(name))
    left = [f"Not among those changed most, as learning the task in the last stage alone: {staged}."] if staged else []
    told = f"Long enough? {contrasts.title(row)} at the end of each epoch, and what the last epoch changes in all rows:"
    heads = [*(f"Epoch {epoch}" for epoch in epochs), "Last epoch", "Best at the end", "Changed most"]
    return f"{told}\n\n{text_table(heads, rows, [*NOTES, *left])}"


def _last_epoch(contrasts: StudyContrasts, scores: Mapping[int, float], task: str) -> tuple[str, str, str]:
    """Return what the last epoch adds to scores, how many runs are best at its end, and which rows it changes most."""
    change, changes = _last_change(scores), _last_changes(contrasts, task)
    if change is None or not changes:
        return "–", "–", "–"
    last, runs = best_at_end(list(contrasts.lines.values()), task)
    most = sorted(changes, key=lambda row: -abs(changes[row]))[:MOST_NAMED]
    listed = ", ".join(f"{contrasts.title(row)} {signed(changes[row])}" for row in most)
    return signed(change), f"{last} of {runs}", listed


def _last_change(scores: Mapping[int, float]) -> float | None:
    """Return what the last epoch adds to a row's score; None where no evaluation is at its start or its end."""
    before = scores.get(max(scores) - 1) if scores else None
    return None if before is None else scores[max(scores)] - before


def _last_changes(contrasts: StudyContrasts, task: str) -> dict[str, float]:
    """Return what the last epoch adds to the score of each row that learns the task from the beginning."""
    rows = [row for row in contrasts.rows if not _has_stages(row)]
    found = {row: _last_change(epoch_scores(contrasts, row, task)) for row in rows}
    return {row: change for row, change in found.items() if change is not None}


def _has_stages(row: str) -> bool:
    """Return whether a row's method says from which step on its student can be the run's best."""
    owner = METHODS.all().get(METHODS.owner(row) or "")
    return owner is not None and owner.may_be_best is not Method.may_be_best


def epoch_scores(contrasts: StudyContrasts, row: str, task: str) -> Mapping[int, float]:
    """Return epoch -> the row's mean selection score at its end, over the seeds; empty where none is recorded."""
    read = curves.selection_reader(TASKS.get(task).metrics[0])
    of_seeds = [points for cell in contrasts.cells(row, task) if (points := read(cell))]
    by_epoch = dict[int, list[float]]()
    for points in of_seeds:
        for epoch, score in points.values():
            if epoch == round(epoch):
                by_epoch.setdefault(round(epoch), []).append(100 * curves.stored_number(score))
    return {epoch: statistics.fmean(some) for epoch, some in by_epoch.items() if len(some) == len(of_seeds)}
