"""Show whether the students have converged: scores at the end of each epoch, and what the last epoch brings."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

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
NOTE = "First metric of the task on the split that selects checkpoints, in per cent; mean over the seeds."


def convergence_words(contrasts: StudyContrasts, row: str) -> str:
    """Return a row's scores epoch by epoch as a Markdown table, and what the last epoch changes; "" without scores.

    Of all rows those are named that the last epoch changes most.
    """
    found = {task: scores for task in contrasts.tasks if (scores := epoch_scores(contrasts, row, task))}
    if not found:
        return ""
    epochs = range(1, max(map(max, found.values())) + 1)
    shown = [
        (task_title(task), *(f"{scores[epoch]:.1f}" if epoch in scores else "–" for epoch in epochs))
        for task, scores in found.items()
    ]
    table = text_table([f"Epoch {epoch}" for epoch in epochs], shown, [NOTE])
    changes = {task: change for task, scores in found.items() if (change := _last_change(scores)) is not None}
    listed = ", ".join(f"{signed(change)} {UNIT} on {task_title(task)}" for task, change in changes.items())
    title = contrasts.title(row)
    last = f"Long enough? On the selection split, the last epoch changes {title} by {listed}."
    told = f"{last} {_most_changed(contrasts, list(changes))}" if changes else f"{title} trains for one epoch."
    return f"{told}\n\n{table}"


def _last_change(scores: Mapping[int, float]) -> float | None:
    """Return what the last epoch adds to a row's score; None where no evaluation is at its start or its end."""
    before = scores.get(max(scores) - 1) if scores else None
    return None if before is None else scores[max(scores)] - before


def _most_changed(contrasts: StudyContrasts, tasks: Sequence[str]) -> str:
    """Say on each task how many rows still gain in the last epoch, and name those that it changes most."""
    parts, staged = [], [row for row in contrasts.rows if _has_stages(row)]
    for task in tasks:
        changes = last_changes(contrasts, task)
        gaining = sum(change >= GAIN for change in changes.values())
        most = sorted(changes, key=lambda row: -abs(changes[row]))[:MOST_NAMED]
        listed = ", ".join(f"{contrasts.title(row)} by {signed(changes[row])}" for row in most)
        parts.append(f"{gaining} of {len(changes)} on {task_title(task)}, where it changes most {listed}")
    names = ", ".join(map(contrasts.title, staged))
    left = f" Left out, as learning the task in the last stage alone: {names}." if staged else ""
    return f"Rows that gain {GAIN} {UNIT} or more in it, and so might gain from another one: {'; '.join(parts)}.{left}"


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
