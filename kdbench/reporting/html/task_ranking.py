"""Find the task that separates methods best; the report shows it first."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import combinations

from kdbench.core.errors import UserError
from kdbench.data.task_registry import TASKS
from kdbench.reporting import provenance
from kdbench.results.comparison import mean_score
from kdbench.results.selection import select_row
from kdbench.results.study import TEACHER, CellResult, StudyResults, task_title

Score = tuple[float, float]  # a row's mean, and half of its 95 % interval; infinite where it is not known


def rank_tasks(study: StudyResults) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the study's tasks, the most informative first and the others in table order, and a fact that explains it.

    The most informative task has most pairs of methods further apart than their joint 95 % error: the root of the sum
    of both squared half intervals, which count items and seeds. Ties go to the task with the largest spread of means.
    The teacher does not count. Both methods of a pair are scored on the same items, so the count is conservative.
    """
    lines = [select_row(study, row) for row in provenance.traceable_rows(study) if row != TEACHER]
    scores = {task: [_score(task, line.shown[task]) for line in lines if line.shown[task]] for task in study.tasks}
    counted = {task: _apart(found) for task, found in scores.items() if len(found) > 1}
    if len(counted) < 2:
        return study.tasks, []
    spreads = {task: statistics.pstdev(mean for mean, _ in scores[task]) for task in counted}
    best = max(counted, key=lambda task: (counted[task], spreads[task]))
    said = f"{task_title(best)}: most pairs of methods further apart than their errors (not tested)"
    if all(math.isinf(half) for _, half in scores[best]):
        said = f"{task_title(best)}: methods differ most; without predictions their error is not known"
    elif not counted[best]:
        said = f"{task_title(best)}: methods differ most, though no pair is further apart than its error"
    return sorted(study.tasks, key=lambda task: task != best), [("Shown first", said)]


def _score(task: str, cells: Sequence[CellResult]) -> Score:
    """Return the mean of a row on a task and half of its 95 % interval; infinite where no predictions were kept."""
    try:
        found = mean_score(TASKS.get(task)(), cells)
    except UserError:  # no predictions were kept
        return statistics.fmean(provenance.mean_run_score(cell) for cell in cells), math.inf
    return found.value, found.interval()[1] - found.value


def _apart(found: Sequence[Score]) -> int:
    """Count the pairs of rows that are further apart than their joint error."""
    return sum(abs(a - b) > math.hypot(x, y) for (a, x), (b, y) in combinations(found, 2))
