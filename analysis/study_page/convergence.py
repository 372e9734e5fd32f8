"""Show whether the students have converged: scores at the end of each epoch, and what the last epoch brings."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from kdbench.analysis import curves
from kdbench.analysis.study_page.contrasts import UNIT, StudyContrasts
from kdbench.analysis.study_page.text_table import text_table
from kdbench.core.formatting import signed
from kdbench.data.task_registry import TASKS
from kdbench.distill.method import Method
from kdbench.distill.method_registry import METHODS
from kdbench.results.study import task_title

MOST_NAMED = 3  # rows on a task
GAIN = 0.4  # points in the last epoch, from which on a row counts as still learning
NOTES = (
    "First metric of the task on the split that selects checkpoints, in per cent; mean over the seeds.",
    f"Rows that gain: by {GAIN} {UNIT} or more in the last epoch; they might gain from another one.",
)


def convergence_table(contrasts: StudyContrasts, row: str) -> str:
    """Return a row's scores epoch by epoch as a Markdown table, and what the last epoch changes; "" without scores.

    Of all rows those are counted that gain in the last epoch, and those named that it changes most.
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
    left = [f"Not counted, because they learn the task in the last stage alone: {staged}."] if staged else []
    told = f"Long enough? {contrasts.title(row)} at the end of each epoch, and what the last epoch changes in all rows:"
    heads = [*(f"Epoch {epoch}" for epoch in epochs), "Last epoch", "Rows that gain", "Changed most"]
    return f"{told}\n\n{text_table(heads, rows, [*NOTES, *left])}"


def _last_epoch(contrasts: StudyContrasts, scores: Mapping[int, float], task: str) -> tuple[str, str, str]:
    """Return what the last epoch adds to scores, how many rows gain in it, and which it changes most."""
    change, changes = _last_change(scores), last_changes(contrasts, task)
    if change is None or not changes:
        return "–", "–", "–"
    gaining, every = gaining_rows(contrasts, task)
    most = sorted(changes, key=lambda row: -abs(changes[row]))[:MOST_NAMED]
    listed = ", ".join(f"{contrasts.title(row)} {signed(changes[row])}" for row in most)
    return signed(change), f"{gaining} of {every}", listed


def _last_change(scores: Mapping[int, float]) -> float | None:
    """Return what the last epoch adds to a row's score; None where no evaluation is at its start or its end."""
    before = scores.get(max(scores) - 1) if scores else None
    return None if before is None else scores[max(scores)] - before


def gaining_rows(contrasts: StudyContrasts, task: str) -> tuple[int, int]:
    """Return how many rows still gain in the last epoch, and of how many."""
    changes = last_changes(contrasts, task).values()
    return sum(change >= GAIN for change in changes), len(changes)


def is_settled(contrasts: StudyContrasts, task: str) -> bool:
    """Return whether no more than half of the rows still gain in the last epoch."""
    gaining, every = gaining_rows(contrasts, task)
    return 2 * gaining <= every


def settled_tasks(contrasts: StudyContrasts) -> list[str]:
    """Return the tasks on which training has come to an end for most rows; see `is_settled`."""
    return [task for task in contrasts.tasks if is_settled(contrasts, task)]


def last_changes(contrasts: StudyContrasts, task: str) -> dict[str, float]:
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
